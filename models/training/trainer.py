"""The trainer: from data sets to a checkpoint, as `moodex train` runs it."""

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
from indexer.domain.training import Epoch, Evaluation, Trained, TrainingWatcher
from indexer.system.atomic import replace_file
from indexer.system.optional import require
from models import checkpoint
from models.architectures.registry import Architecture, architecture
from models.inference.classifier import TorchClassifier
from models.inference.device import select_device
from models.teaching.replay import SIZE, build_replay_set
from models.training.calibration import fit_temperature, fold_temperature
from models.training.dataset import Decode, LabeledImages, load_images
from models.training.dataset_checks import inspect
from models.training.dataset_readers import find_images
from models.training.initial_weights import IMAGENET, NO_WEIGHTS, initialize_network
from models.training.loop import Hooks, fit
from models.training.metrics import evaluate
from models.training.sampling import sampling_weights
from models.training.splits import DatasetSplit, split, write_split
from models.training.test_time_augmentation import probabilities
from models.training.training_state import saved_fingerprint

if TYPE_CHECKING:
    from torch import Tensor

    from indexer.domain.types import Floats
    from models.training.label_mapping import Labels
    from models.training.recipe import Recipe
    from models.training.requests import TrainOptions

STATE = "state.safetensors"


def train(
    options: TrainOptions, decode: Decode, watcher: TrainingWatcher, check_stop: Callable[[], None] = lambda: None
) -> Trained:
    """Train a model, write its checkpoint and card, and measure the checkpoint on the test part.

    Raises UsageError for unusable data or options, ModelUnavailable for missing weights, DeviceUnavailable, MissingExtra.
    """
    _check_name(options)
    recipe_architecture(options.recipe)
    images = prepare(options.datasets, options.labels, options.recipe, decode, options.workers, options.work)
    divisions = split(images, options.plan)
    if len(divisions) > 1:
        raise UsageError(
            f"The split {options.plan.method!r} means {len(divisions)} trainings; moodex compare runs them all. "
            "To hold out one group: --split none --hold-out NAME."
        )
    return fit_and_save(options, images, divisions[0], watcher, check_stop)


def prepare(
    datasets: tuple[Path, ...],
    labels: Labels,
    recipe: Recipe,
    decode: Decode,
    workers: int = 0,
    cache_folder: Path | None = None,
) -> LabeledImages:
    """Decode data sets for the network of a recipe; arguments and errors are those of `find_images` and `load_images`."""
    return load_images(find_images(datasets, labels), input_of(recipe), decode, workers, cache_folder=cache_folder)


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
    """Train on one division and write the checkpoint, as `train` does."""
    for module, package in (("sklearn", "scikit-learn"), ("tensorboard", "tensorboard")):
        require(module, package, "train", "Training")
    recipe, kind, spec = options.recipe, architecture(options.recipe.architecture), input_of(options.recipe)
    device = select_device(options.device)
    parts = {part: images.take(getattr(division, part)) for part in ("train", "validation", "test")}
    seen = parts["train"].distinct()
    fingerprint = _fingerprint(recipe, images, division)
    state_path = options.work / STATE
    kept = None if options.force else saved_fingerprint(state_path)
    if kept not in (None, fingerprint):
        raise UsageError(
            f"There is an interrupted training called {options.name!r} with other options or data in {options.work}. Finish it "
            "with its own options, choose another --name, or discard it with --force."
        )
    watcher.data(inspect(images, division, options.work), {part: len(rows) for part, rows in parts.items()}, division.name)
    torch.manual_seed(recipe.seed)
    network = initialize_network(kind, recipe.weights, images.emotions, recipe.size)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    options.work.mkdir(parents=True, exist_ok=True)
    if kept is None:
        state_path.unlink(missing_ok=True)
    replace_file(options.work / "split.csv", lambda path: _write_split(images, division, path))
    with _log(options.work, kept is not None, watcher) as after_epoch:
        hooks = Hooks((state_path, fingerprint), after_epoch, check_stop)
        fitted = fit(network, seen, parts["validation"], recipe, device, hooks)
    write_history(options.work / "history.csv", fitted.history)

    card = ModelCard(options.name, kind.name, "", images.emotions, spec, network.embedding_size, network.spaces)
    temperature = options.temperature or 1.0
    if options.temperature is None and len(parts["validation"]):
        unscaled = TorchClassifier(card, fitted.state, device)
        temperature = fit_temperature(log_probabilities(unscaled, parts["validation"]), parts["validation"].labels)
    card = replace(card, about=_about(options, seen, division, fitted.history, temperature))
    remembered = sample_replay_set(TorchClassifier(card, fitted.state, device), seen, recipe)
    path = checkpoint.save(options.output, card, {**fold_temperature(fitted.state, temperature), **remembered})
    tested = None
    if len(parts["test"]):
        written = TorchClassifier.open(path, options.device)
        tested = measure(written, parts["test"], recipe.views)
        by_artist = {artist: _brief(one) for artist, one in measure_by_artist(written, parts["test"], recipe.views).items()}
        about = {**card.about, "tested": {"split": division.name, **_brief(tested), "by_artist": by_artist}}
        checkpoint.write_card(path, replace(written.card, about=about))
    state_path.unlink(missing_ok=True)
    return Trained(path, options.name, parameters, fitted.history, tested)


def sample_replay_set(classifier: TorchClassifier, seen: LabeledImages, recipe: Recipe) -> dict[str, Tensor]:
    """Compute the replay set of a model: embeddings of images that are drawn as training draws them."""
    weights = sampling_weights(seen, recipe.balance)
    count = min(SIZE, len(seen))
    rows = np.random.default_rng(recipe.seed).choice(len(seen), count, replace=False, p=weights)
    chosen = seen.take(np.sort(rows))
    embeddings = [classifier.classify(chunk).embeddings for chunk in chosen.pixels.chunks(classifier.batch_size)]
    return build_replay_set(np.concatenate(embeddings), chosen.labels)


def log_probabilities(classifier: TorchClassifier, images: LabeledImages) -> Floats:
    """Return the natural logarithms of probabilities, float32, (N, labels), which serve as logits."""
    logarithms: Floats = np.log(probabilities(classifier, images.pixels) + 1e-12)
    return logarithms


def measure(classifier: TorchClassifier, images: LabeledImages, views: int = 1) -> Evaluation:
    """Measure a classifier on images whose emotions are its labels."""
    return evaluate(probabilities(classifier, images.pixels, views), images.labels, images.emotions)


def measure_by_artist(classifier: TorchClassifier, images: LabeledImages, views: int = 1) -> dict[str, Evaluation]:
    """Measure a classifier as `measure` does, by artist."""
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
def _log(folder: Path, resumed: bool, watcher: TrainingWatcher) -> Iterator[Callable[[Epoch], None]]:
    """Report a training to TensorBoard and to the watcher."""
    from torch.utils.tensorboard import SummaryWriter

    if resumed:
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
    if not options.name or Path(options.name).name != options.name or options.name.startswith("."):
        raise UsageError(f"{options.name!r} cannot be the name of a model: it becomes a file name.")
    if (options.output / f"{options.name}.safetensors").exists() and not options.force:
        raise UsageError(f"There is a model {options.name!r} in {options.output} already; choose another --name, or add --force.")


def _fingerprint(recipe: Recipe, images: LabeledImages, division: DatasetSplit) -> str:
    """Return a digest of everything that decides the result of a training."""
    rows = [images.files[row].digest for part in (division.train, division.validation) for row in part.tolist()]
    facts = [asdict(recipe), images.emotions, rows, images.labels[division.train].tolist()]
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()


def _brief(evaluation: Evaluation) -> dict[str, Any]:
    facts = evaluation.as_json()
    brief = {name: facts[name] for name in ("n", "accuracy", "balanced_accuracy", "macro_f1", "ece", "chance")}
    return {**brief, "recall": {label: round(value, 4) for label, value in evaluation.recall.items()}}


def _about(
    options: TrainOptions, seen: LabeledImages, division: DatasetSplit, history: tuple[Epoch, ...], temperature: float
) -> dict[str, Any]:
    weights = options.recipe.weights
    recipe = {**asdict(options.recipe), "weights": weights if weights in (IMAGENET, NO_WEIGHTS) else Path(weights).name}
    return {
        "pictures": len(seen),
        "pictures_by_emotion": {emotion: int((seen.labels == n).sum()) for n, emotion in enumerate(seen.emotions)},
        "data": [
            {"set": one.name, "pictures": count, **{name: getattr(one, name) for name in ("artist", "licence", "credit", "url")}}
            for one, count in Counter(seen.sources).items()
        ],
        "recipe": recipe,
        "split": division.name,
        "epochs": len(history),
        "temperature": round(temperature, 4),
    }
