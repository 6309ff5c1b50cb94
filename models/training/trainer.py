"""The trainer, which makes a checkpoint from data sets, as `moodex train` runs it."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from indexer.domain.errors import ModelUnavailable, UsageError
from indexer.domain.images import InputSpec
from indexer.domain.models import ModelCard
from indexer.domain.training import WHOLE_IMAGES, Epoch, Evaluation, Trained, TrainingWatcher
from indexer.system.atomic import replace_file
from indexer.system.optional import require
from models import checkpoint, checkpoint_arrays
from models.architectures.registry import Architecture, architecture
from models.inference.classifier import TorchClassifier
from models.inference.device import select_device
from models.teaching.replay import REPLAY_SET_SIZE, build_replay_set
from models.training.calibration import fit_temperature, fold_temperature
from models.training.dataset import LabeledImages, load_images
from models.training.dataset_checks import inspect
from models.training.dataset_readers import find_images
from models.training.distillation import Teachers
from models.training.initial_weights import IMAGENET, NO_WEIGHTS, initialize_network
from models.training.loop import Hooks, fit
from models.training.metrics import MIN_PROBABILITY, evaluate
from models.training.sampling import sampling_weights
from models.training.splits import DatasetSplit, split, write_split
from models.training.test_time_augmentation import probabilities
from models.training.training_state import saved_fingerprint

if TYPE_CHECKING:
    from torch import Tensor

    from indexer.domain.types import Floats
    from indexer.ports.analyzer import InputDecoder
    from models.training.label_mapping import Labels
    from models.training.recipe import Recipe
    from models.training.requests import TrainOptions

STATE = "state.safetensors"
"""Name of the file with the state of an interrupted training."""


def train(
    options: TrainOptions, decoder: InputDecoder, watcher: TrainingWatcher, check_stop: Callable[[], None] = lambda: None
) -> Trained:
    """Train a model, write its checkpoint and card, and measure the checkpoint on the test part.

    - `decoder`: decodes the images; only a decoder with the same `faces` can resume the training.
    - `watcher`: receives the data, and each finished epoch.
    - `check_stop`: called between batches; may raise. The training can be resumed then.

    Raises UsageError for unusable data or options, ModelUnavailable for missing weights, DeviceUnavailable, MissingExtra, and
    MoodexError if the image cache cannot be written.
    """
    _check_name(options)
    recipe_architecture(options.recipe)
    images = prepare(options.datasets, options.labels, options.recipe, decoder, options.workers, options.work)
    divisions = split(images, options.plan)
    if len(divisions) > 1:
        raise UsageError(
            f"The split {options.plan.method!r} needs {len(divisions)} trainings; moodex compare runs them all. "
            "To hold out one group: --split none --hold-out NAME."
        )
    return fit_and_save(options, images, divisions[0], watcher, check_stop)


def prepare(
    datasets: tuple[Path, ...],
    labels: Labels,
    recipe: Recipe,
    decoder: InputDecoder,
    workers: int = 0,
    cache_folder: Path | None = None,
) -> LabeledImages:
    """Decode the images of data sets for the network of a recipe.

    Arguments and errors are those of `find_images` and `load_images`.
    """
    return load_images(find_images(datasets, labels), input_of(recipe), decoder, workers, cache_folder=cache_folder)


def recipe_architecture(recipe: Recipe) -> Architecture:
    """Return the architecture that a recipe names. Raises UsageError for an unknown name or modifier."""
    try:
        return architecture(recipe.architecture)
    except ModelUnavailable as error:
        raise UsageError(str(error)) from None


def input_of(recipe: Recipe) -> InputSpec:
    """Return the input of the network of a recipe."""
    kind = recipe_architecture(recipe)
    return InputSpec(recipe.size, kind.mean, kind.std)


def fit_and_save(
    options: TrainOptions,
    images: LabeledImages,
    division: DatasetSplit,
    watcher: TrainingWatcher,
    check_stop: Callable[[], None] = lambda: None,
) -> Trained:
    """Train on one division, write the checkpoint, and measure it; arguments and errors are those of `train`."""
    for module, package in (("sklearn", "scikit-learn"), ("tensorboard", "tensorboard")):
        require(module, package, "train", "Training")
    recipe, kind, spec = options.recipe, architecture(options.recipe.architecture), input_of(options.recipe)
    device = select_device(options.device)
    parts = {part: images.take(getattr(division, part)) for part in ("train", "validation", "test")}
    train_images = parts["train"].distinct()
    fingerprint = _fingerprint(recipe, images, division)
    state_path = options.work / STATE
    fingerprint_to_resume = None if options.force else saved_fingerprint(state_path)
    if fingerprint_to_resume not in (None, fingerprint):
        raise UsageError(
            f"There is an interrupted training called {options.name!r} with other options or data in {options.work}. Finish it "
            "with its options, choose another --name, or discard it with --force."
        )
    watcher.data(inspect(images, division, options.work), {part: len(rows) for part, rows in parts.items()}, division.name)
    torch.manual_seed(recipe.seed)
    network = initialize_network(kind, recipe.weights, images.emotions, recipe.size)
    teachers = Teachers.open(recipe.teachers, images.emotions, spec, device) if recipe.teachers else None
    parameters = sum(parameter.numel() for parameter in network.parameters())
    options.work.mkdir(parents=True, exist_ok=True)
    is_resumed = fingerprint_to_resume is not None
    if not is_resumed:
        state_path.unlink(missing_ok=True)
    replace_file(options.work / "split.csv", lambda path: _write_split(images, division, path))
    with _report_epochs(options.work, is_resumed, watcher) as after_epoch:
        hooks = Hooks((state_path, fingerprint), after_epoch, check_stop)
        fitted = fit(network, train_images, parts["validation"], recipe, device, hooks, teachers)
    write_history(options.work / "history.csv", fitted.history)

    card = ModelCard(options.name, kind.name, "", images.emotions, spec, network.embedding_size, network.spaces)
    temperature = options.temperature or 1.0
    if options.temperature is None and len(parts["validation"]):
        unscaled = TorchClassifier(card, fitted.state, device)
        temperature = fit_temperature(log_probabilities(unscaled, parts["validation"]), parts["validation"].labels)
    card = replace(card, about=_about(options, train_images, division, fitted.history, temperature))
    replay_set = sample_replay_set(TorchClassifier(card, fitted.state, device), train_images, recipe)
    path = checkpoint.save(options.output, card, {**fold_temperature(fitted.state, temperature), **replay_set})
    tested = None
    if len(parts["test"]):
        written = TorchClassifier.open(path, options.device)
        tested = measure(written, parts["test"], recipe.views)
        evaluations = measure_by_artist(written, parts["test"], recipe.views)
        by_artist = {artist: _brief(evaluation) for artist, evaluation in evaluations.items()}
        about = {**card.about, "tested": {"split": division.name, **_brief(tested), "by_artist": by_artist}}
        checkpoint_arrays.write_card(path, replace(written.card, about=about))
    state_path.unlink(missing_ok=True)
    return Trained(path, options.name, parameters, fitted.history, tested)


def sample_replay_set(classifier: TorchClassifier, images: LabeledImages, recipe: Recipe) -> dict[str, Tensor]:
    """Compute the replay set of a model from its training images.

    The images are drawn with the sampling weights of the recipe. Returns the arrays of
    `models.teaching.replay.build_replay_set` as tensors.
    """
    weights = sampling_weights(images, recipe.balance)
    count = min(REPLAY_SET_SIZE, len(images))
    rows = np.random.default_rng(recipe.seed).choice(len(images), count, replace=False, p=weights)
    sample = images.take(np.sort(rows))
    embeddings = [classifier.classify(chunk).embeddings for chunk in sample.pixels.chunks(classifier.batch_size)]
    arrays = build_replay_set(np.concatenate(embeddings), sample.labels)
    return {name: torch.from_numpy(values) for name, values in arrays.items()}


def log_probabilities(classifier: TorchClassifier, images: LabeledImages) -> Floats:
    """Return the natural logarithms of probabilities, float32, (N, labels), which serve as logits."""
    logarithms: Floats = np.log(probabilities(classifier, images.pixels) + MIN_PROBABILITY)
    return logarithms


def measure(classifier: TorchClassifier, images: LabeledImages, views: int = 1) -> Evaluation:
    """Measure a classifier on images whose `emotions` are its labels; `views` are averaged, 1-6."""
    evaluation = evaluate(probabilities(classifier, images.pixels, views), images.labels, images.emotions)
    return replace(evaluation, faces=images.faces)


def measure_by_artist(classifier: TorchClassifier, images: LabeledImages, views: int = 1) -> dict[str, Evaluation]:
    """Measure a classifier separately on the images of each artist; arguments are those of `measure`."""
    artists = np.array(images.artists)
    return {artist: measure(classifier, images.where(artists == artist), views) for artist in sorted(set(artists.tolist()))}


def write_history(path: Path, history: tuple[Epoch, ...]) -> None:
    """Write epochs as CSV, one per row, atomically."""

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="") as file:
            rows = [asdict(epoch) for epoch in history]
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    replace_file(path, write)


@contextmanager
def _report_epochs(folder: Path, is_resumed: bool, watcher: TrainingWatcher) -> Iterator[Callable[[Epoch], None]]:
    """Provide a function that reports a finished epoch to TensorBoard and to the watcher."""
    from torch.utils.tensorboard import SummaryWriter

    if is_resumed:
        watcher.resumed()
    with SummaryWriter(folder) as writer:

        def after_epoch(epoch: Epoch) -> None:
            for name, value in asdict(epoch).items():
                if name != "number" and value is not None:
                    writer.add_scalar(name.replace("validation_", "validation/"), value, epoch.number)
            writer.flush()
            watcher.epoch(epoch)

        yield after_epoch


def _write_split(images: LabeledImages, division: DatasetSplit, path: Path) -> None:
    with path.open("w", encoding="utf-8", errors="surrogateescape") as file:
        write_split(images, division, file)


def _check_name(options: TrainOptions) -> None:
    """Raise UsageError for an invalid name, and for an existing one unless `force` is True."""
    if not options.name or Path(options.name).name != options.name or options.name.startswith("."):
        raise UsageError(f"{options.name!r} cannot be the name of a model: it becomes a file name.")
    if (options.output / f"{options.name}.safetensors").exists() and not options.force:
        raise UsageError(f"There is a model {options.name!r} in {options.output} already; choose another --name, or add --force.")


def _fingerprint(recipe: Recipe, images: LabeledImages, division: DatasetSplit) -> str:
    """Return the hex digest of everything that affects the result of a training."""
    digests = [images.files[row].digest for part in (division.train, division.validation) for row in part.tolist()]
    inputs = [asdict(recipe), images.emotions, digests, images.labels[division.train].tolist(), *face_inputs(images)]
    return hashlib.blake2b(json.dumps(inputs).encode(), digest_size=16).hexdigest()


def face_inputs(images: LabeledImages) -> list[str]:
    """Return what a digest of the inputs of a training contains about the faces of its images.

    That is nothing for whole images, so that trainings from before moodex cropped the images can be resumed with them.
    """
    return [] if images.faces == WHOLE_IMAGES else [images.faces]


def _brief(evaluation: Evaluation) -> dict[str, Any]:
    """Return the measurements that a card has."""
    return {**evaluation.brief_json(), "recall": {label: round(value, 4) for label, value in evaluation.recall.items()}}


def _about(
    options: TrainOptions, images: LabeledImages, division: DatasetSplit, history: tuple[Epoch, ...], temperature: float
) -> dict[str, Any]:
    """Return the `about` of the card of a model that was trained on `images`."""
    weights = options.recipe.weights
    recipe = {
        **asdict(options.recipe),
        "weights": weights if weights in (IMAGENET, NO_WEIGHTS) else Path(weights).name,
        "teachers": [Path(teacher).name for teacher in options.recipe.teachers],
    }
    columns = ("artist", "licence", "credit", "url")
    return {
        "pictures": len(images),
        "pictures_by_emotion": {emotion: int((images.labels == n).sum()) for n, emotion in enumerate(images.emotions)},
        "data": [
            {"set": source.name, "pictures": count, **{name: getattr(source, name) for name in columns}}
            for source, count in Counter(images.sources).items()
        ],
        "recipe": recipe,
        "faces": images.faces,
        "split": division.name,
        "epochs": len(history),
        "temperature": round(temperature, 4),
    }
