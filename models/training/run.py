"""From folders of labelled pictures to a checkpoint: what `moodex train` does."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.domain import InputSpec, ModelCard
from indexer.errors import UsageError
from models import checkpoint
from models.classifier import TorchClassifier
from models.device import choose_device
from models.registry import architecture
from models.start import IMAGENET, NO_WEIGHTS, start
from models.training.calibrate import fit_temperature, fold_temperature
from models.training.datasets import Decode, Pictures, find_pictures, load_pictures
from models.training.evaluate import evaluate
from models.training.train import Recipe, fit

if TYPE_CHECKING:
    from indexer.domain import Floats


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What to train, on what, and where to put it.

    `weights` to start from: "imagenet", "none", or the path of a checkpoint of the same architecture. `hold_out` names artists
    or sets to measure on instead of training on them. `temperature` calibrates the result; None fits it to what is held out, and
    leaves the outputs as they are where nothing is. `workers` of 0 decode as many pictures at a time as suits the machine.
    """

    datasets: tuple[Path, ...]
    name: str
    output: Path
    architecture: str = "efficientnet_lite0"
    weights: str = IMAGENET
    hold_out: tuple[str, ...] = ()
    device: str = "auto"
    workers: int = 0
    temperature: float | None = None
    recipe: Recipe = field(default_factory=Recipe)


def train(options: TrainOptions, decode: Decode) -> Path:
    """Train a model and write its checkpoint `output/name.safetensors` with its card; returns its path.

    What is held out is measured on the checkpoint as written. Raises UsageError for data that cannot be trained on,
    ModelUnavailable for an unknown architecture or weights that are not there, DeviceUnavailable.
    """
    if not options.name or Path(options.name).name != options.name:
        raise UsageError(f"{options.name!r} cannot be a model's name: it becomes a file name.")
    kind = architecture(options.architecture)
    device = choose_device(options.device)
    spec = InputSpec(options.recipe.size, kind.mean, kind.std)
    pictures, held_out = load_pictures(find_pictures(options.datasets), spec, decode, options.workers).without(options.hold_out)
    if len(np.unique(pictures.labels)) < 2:
        raise UsageError("Training needs pictures of at least two emotions.")

    network = start(kind, options.weights, pictures.emotions, spec.size)
    state = fit(network, pictures, options.recipe, kind.mean, kind.std, device)

    card = ModelCard(options.name, kind.name, "", pictures.emotions, spec, network.embedding_size)
    temperature = options.temperature or 1.0
    if options.temperature is None and len(held_out):
        temperature = fit_temperature(log_probabilities(TorchClassifier(card, state, device), held_out), held_out.labels)
    card = replace(card, about=_about(options, pictures, temperature))
    path = checkpoint.save(options.output, card, fold_temperature(state, temperature))
    if len(held_out):
        written = TorchClassifier.open(path, options.device)
        about = {**card.about, "held_out": measure(written, held_out)}
        checkpoint.write_card(path, replace(written.card, about=about))
    return path


def log_probabilities(classifier: TorchClassifier, pictures: Pictures) -> Floats:
    """What a classifier says of pictures, as natural logarithms, float32, (N, labels): they serve as logits."""
    logarithms: Floats = np.log(classifier.classify(pictures.pixels).probabilities + 1e-12)
    return logarithms


def measure(classifier: TorchClassifier, pictures: Pictures) -> dict[str, Any]:
    """How good a classifier is, by artist, as plain data."""
    found = {}
    for artist in sorted(set(pictures.artists)):
        part = pictures.where([one == artist for one in pictures.artists])
        scores = classifier.classify(part.pixels)
        found[artist] = evaluate(scores.probabilities, part.labels, part.emotions).as_json()
    return found


def _about(options: TrainOptions, pictures: Pictures, temperature: float) -> dict[str, Any]:
    return {
        "started_from": options.weights if options.weights in (IMAGENET, NO_WEIGHTS) else Path(options.weights).name,
        "pictures": len(pictures),
        "pictures_by_emotion": {emotion: int((pictures.labels == n).sum()) for n, emotion in enumerate(pictures.emotions)},
        "data": [
            {"set": one.name, "pictures": count, **{name: getattr(one, name) for name in ("artist", "licence", "credit", "url")}}
            for one, count in Counter(pictures.sources).items()
        ],
        "recipe": asdict(options.recipe),
        "temperature": round(temperature, 4),
    }
