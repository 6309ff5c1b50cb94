from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from indexer.domain.errors import UsageError
from models.architectures.registry import architecture
from models.training.grid_file import read_variants
from models.training.optimizer import build_optimizer, learning_rate_factor, set_learning_rates
from models.training.recipe import Recipe, RecipeOverrides, change_recipe, find_recipe, named_recipes
from models.training.test_time_augmentation import augmented_views
from models.training.trainer import recipe_architecture

ROOT = Path(__file__).parents[3]


def test_the_named_recipes_are_valid() -> None:
    assert next(iter(named_recipes())) == "default"
    assert named_recipes()["default"].architecture == "efficientnet_lite0+spaces"
    assert named_recipes()["study"].strength == 0 and named_recipes()["mixup"].mixup > 0


def test_the_study_has_thirteen_rows() -> None:
    variants = read_variants("study")
    assert len(variants) == 13
    assert {recipe.architecture.split("+")[0] for recipe in variants.values()} == {"baseline_cnn", "googlenet", "resnet50"}
    smaller = read_variants("study", RecipeOverrides(size=64, weights="none"))
    assert {(recipe.size, recipe.weights, recipe.epochs) for recipe in smaller.values()} == {(64, "none", 30)}


def test_a_recipe_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('base = "mixup"\nepochs = 9\nhead_rate = 1\n')
    recipe = find_recipe(str(tmp_path / "mine.toml"))
    assert (recipe.mixup, recipe.epochs, recipe.head_rate) == (0.2, 9, 1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("epoch = 3", "sets 'epoch', which is not a field"),
        ('epochs = "three"', "must be of type int"),
        ("epochs = 0", "epochs is 0; it must be between 1"),
        ("epochs = true", "must be of type int"),
        ('schedule = "steps"', "choose cosine, constant"),
        ('architecture = "resnet9000"', "no architecture"),
        ('base = "magic"', "no recipe 'magic'"),
        ("epochs =", "cannot be read as TOML"),
    ],
)
def test_an_invalid_recipe_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(UsageError, match=sentence):
        recipe_architecture(find_recipe(str(tmp_path / "bad.toml")))


def test_the_recipe_modules_import_no_torch() -> None:
    modules = "models.training.recipe, models.training.grid_file, models.training.requests, models.training.service"
    script = f"import sys, {modules}, commands.training; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


def test_command_line_fields_override_a_recipe() -> None:
    overrides = RecipeOverrides(epochs=4, assignments=("mixup=0.3", " schedule = constant ", "epochs=5"))
    recipe = overrides.apply(Recipe(), "The command line")
    assert (recipe.epochs, recipe.mixup, recipe.schedule) == (5, 0.3, "constant")
    assert RecipeOverrides().apply(Recipe(), "The command line") == Recipe()
    taught = RecipeOverrides(teachers=("a",), assignments=("teacher_share=0.5",)).apply(Recipe(), "The command line")
    assert (taught.teachers, taught.teacher_share) == (("a",), 0.5)
    assert RecipeOverrides(assignments=('teachers=["a", "b"]',)).apply(Recipe(), "The command line").teachers == ("a", "b")
    for assignment, sentence in (
        ("epochs", "does not set a field"),
        ("epochs=many", "must be of type int"),
        ("teachers=[1]", "must be a list of names"),
    ):
        with pytest.raises(UsageError, match=sentence):
            RecipeOverrides(assignments=(assignment,)).apply(Recipe(), "The command line")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[every]\nepochs = 3\n", r"has no \[\[variant\]\]"),
        ("[[row]]\nname = 'a'\n", "has 'row'"),
        ("[[variant]]\nname = 'a'\n[[variant]]\nname = 'a'\n", "two variants called 'a'"),
        ("[[variant]]\nname = 'a'\nmagic = 1\n", "in 'a' sets 'magic'"),
    ],
)
def test_an_invalid_grid_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(UsageError, match=sentence):
        read_variants(str(tmp_path / "bad.toml"))
    with pytest.raises(UsageError, match="does not exist"):
        read_variants(str(tmp_path / "none.toml"))


def test_the_learning_rate_warms_up_and_decays() -> None:
    recipe = change_recipe(Recipe(), {"warm_up": 0.1}, "here")
    factors = [learning_rate_factor(step, 100, recipe) for step in range(100)]
    assert factors[0] == pytest.approx(0.1) and max(factors) == pytest.approx(1) and factors[-1] < 0.01
    assert np.all(np.diff(factors[:10]) > 0) and np.all(np.diff(factors[10:]) <= 0)
    assert {
        learning_rate_factor(step, 100, change_recipe(recipe, {"schedule": "constant", "warm_up": 0.0}, "here"))
        for step in range(100)
    } == {1.0}


def test_rates_fall_towards_the_input_and_layers_thaw_from_the_head() -> None:
    network = architecture("efficientnet_lite0").build(3, 64)
    changes = {"layer_decay": 0.5, "thaw": 0.5, "frozen": 0.0, "schedule": "constant", "warm_up": 0.0}
    recipe = change_recipe(Recipe(), changes, "here")
    optimizer = build_optimizer(network, recipe)
    names = {id(parameter): name for name, parameter in network.named_parameters()}

    def rates(step: int) -> dict[str, float]:
        set_learning_rates(optimizer, step, 100, recipe)
        return {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}

    first, last = rates(0), rates(99)
    assert len(last) == len(list(network.parameters()))
    assert first["classifier.weight"] == 3e-3 and first["head.conv.weight"] == 0 and first["stem.conv.weight"] == 0
    assert (
        0 < last["stem.conv.weight"] < last["blocks.7.project.conv.weight"] < last["head.conv.weight"] < last["classifier.weight"]
    )
    middle = rates(20)
    assert middle["head.conv.weight"] > 0 and middle["stem.conv.weight"] == 0


def test_frozen_layers_have_no_gradients_but_the_head_does() -> None:
    network = architecture("resnet18+dense64").build(3, 64)
    optimizer = build_optimizer(network, change_recipe(Recipe(), {"frozen": 1.0}, "here"))
    trainable = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trainable == {"neck.0.weight", "neck.0.bias", "classifier.weight", "classifier.bias"}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4


def test_views_begin_with_the_image_and_keep_its_shape() -> None:
    x = torch.rand(2, 3, 20, 20)
    views = list(augmented_views(x, 6))
    assert torch.equal(views[0], x) and torch.equal(views[1], x.flip(3))
    assert all(view.shape == x.shape for view in views)
    assert bool((views[2][:, :, 0] == 1).all())
