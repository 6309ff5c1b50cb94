"""Explanation of a model's predictions for an image or a data set, as `moodex explain` runs it."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.emotions import canonical
from indexer.domain.errors import ImageError, UsageError
from indexer.domain.training import Explained, ExplainedData
from models import checkpoint
from models.architectures.registry import Architecture, architecture
from models.inference.loader import ComputeOptions, open_classifier
from models.training.attribution import METHODS, average_maps, deletion_test, heat_maps
from models.training.dataset import load_images
from models.training.dataset_readers import find_images

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.ports.analyzer import InputDecoder
    from models.architectures.network import Network
    from models.training.label_mapping import Labels

_MAX_IMAGES_PER_EMOTION = 48
"""With this number, the mean is stable and an explanation takes minutes."""


def explain_image(weights: Path, path: Path, decoder: InputDecoder, emotion: str | None, method: str) -> Explained:
    """Compute the evidence for an emotion in the main face of one image; None explains the most probable emotion.

    `weights` is a checkpoint and `method` one of `models.training.attribution.METHODS`. Raises UsageError for an unreadable
    image and an unknown method, UnknownEmotion for an emotion that the model does not know, ModelUnavailable and MissingExtra.
    """
    _check(method)
    card, network, kind = _open(weights)
    try:
        view = decoder.main_view(path, open_classifier(weights, ComputeOptions(device="cpu", few=True)))
    except (ImageError, OSError) as error:
        raise UsageError(f"The image {path} cannot be used: {getattr(error, 'strerror', None) or error}.") from error
    import torch

    pixels = view.pixels[None]
    with torch.inference_mode():
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().sub(kind.mean).div(kind.std)
        probabilities = network(x).logits.softmax(dim=1)[0].numpy()
    target = int(probabilities.argmax()) if emotion is None else card.labels.index(canonical(emotion, card.labels))
    maps = heat_maps(network, kind, pixels, np.array([target], dtype=np.int64), method)
    return Explained(card.labels[target], float(probabilities[target]), method, view.frame, pixels[0], maps[0])


def explain_data(
    weights: Path, dataset: Path, labels: Labels, decoder: InputDecoder, method: str, seed: int = 0
) -> ExplainedData:
    """Average the maps of the true emotions over a data set, and run the deletion test.

    Both use a random sample of at most `_MAX_IMAGES_PER_EMOTION` images per emotion. Images of emotions that the model does not
    know are skipped. Raises the errors of `explain_image`, and UsageError for an unusable data set.
    """
    _check(method)
    card, network, kind = _open(weights)
    usable = [image for image in find_images([dataset], labels) if image.emotion in card.labels]
    if not usable:
        raise UsageError(f"The model {card.name!r} knows none of the emotions in {dataset}.")
    random = np.random.default_rng(seed)
    shuffled = [usable[row] for row in random.permutation(len(usable))]
    sample = [
        image
        for emotion in card.labels
        for image in islice((image for image in shuffled if image.emotion == emotion), _MAX_IMAGES_PER_EMOTION)
    ]
    images = load_images(sample, card.input, decoder, emotions=card.labels)
    pixels = images.pixels[:]  # fits the memory: at most _MAX_IMAGES_PER_EMOTION images per emotion
    maps = heat_maps(network, kind, pixels, images.labels, method)
    averages = average_maps(maps, pixels, images.labels, card.labels)
    return ExplainedData(method, averages, deletion_test(network, kind, pixels, images.labels, maps, seed))


def _check(method: str) -> None:
    """Raise UsageError for an unknown method."""
    if method not in METHODS:
        raise UsageError(f"There is no method {method!r}; choose {', '.join(METHODS)}.")


def _open(weights: Path) -> tuple[ModelCard, Network, Architecture]:
    """Return the card of a checkpoint, its network in evaluation mode without fused batch norms, and its architecture."""
    card, state = checkpoint.load(weights)
    kind = architecture(card.architecture)
    network = kind.build(len(card.labels), card.input.size)
    network.load_state_dict(state, strict=False)  # checkpoints lack the batch counters of batch norms
    return card, network.eval(), kind
