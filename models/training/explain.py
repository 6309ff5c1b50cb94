"""What a checkpoint sees in a picture or a data set: what `moodex explain` does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from indexer.domain.emotions import canonical
from indexer.domain.errors import ImageError, UsageError
from indexer.domain.models import ModelCard
from indexer.domain.training import Explained, ExplainedData
from models import checkpoint
from models.architectures.network import Network
from models.architectures.registry import Architecture, architecture
from models.training.attribution import METHODS, average_maps, deletion_test, heat_maps
from models.training.dataset import Decode, load_images
from models.training.dataset_readers import find_images
from models.training.label_mapping import Labels

_EACH = 48
"""How many pictures of an emotion are looked at: enough for a steady mean, few enough for minutes."""


def explain_image(weights: Path, path: Path, decode: Decode, emotion: str | None, method: str) -> Explained:
    """What speaks for an emotion (None: the most probable) in one picture.

    Raises UsageError for a picture that cannot be read and a method that there is not, UnknownEmotion for an emotion that the
    model does not know, ModelUnavailable, MissingExtra.
    """
    _check(method)
    card, network, kind = _open(weights)
    try:
        pixels = decode(path, card.input)[None]
    except (ImageError, OSError) as error:
        raise UsageError(f"The picture {path} cannot be used: {getattr(error, 'strerror', None) or error}.") from error
    import torch

    with torch.inference_mode():
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().sub(kind.mean).div(kind.std)
        probabilities = network(x)[0].softmax(dim=1)[0].numpy()
    target = int(probabilities.argmax()) if emotion is None else card.labels.index(canonical(emotion, card.labels))
    maps = heat_maps(network, kind, pixels, np.array([target], dtype=np.int64), method)
    return Explained(card.labels[target], float(probabilities[target]), method, pixels[0], maps[0])


def explain_data(weights: Path, dataset: Path, labels: Labels, decode: Decode, method: str, seed: int = 0) -> ExplainedData:
    """Average maps of the true emotion over some of a data set's pictures, drawn by the seed, and a deletion test of them.

    Pictures of emotions that the model does not know are left out. Raises as `explain_image` does, and UsageError for a data
    set that cannot be used.
    """
    _check(method)
    card, network, kind = _open(weights)
    found = [picture for picture in find_images([dataset], labels) if picture.emotion in card.labels]
    if not found:
        raise UsageError(f"The model {card.name!r} knows none of the emotions in {dataset}.")
    random = np.random.default_rng(seed)
    order = [found[row] for row in random.permutation(len(found))]
    chosen = [picture for emotion in card.labels for picture in [one for one in order if one.emotion == emotion][:_EACH]]
    pictures = load_images(chosen, card.input, decode, emotions=card.labels)
    maps = heat_maps(network, kind, pictures.pixels, pictures.labels, method)
    averages = average_maps(maps, pictures.pixels, pictures.labels, card.labels)
    return ExplainedData(method, averages, deletion_test(network, kind, pictures.pixels, pictures.labels, maps, seed))


def _check(method: str) -> None:
    if method not in METHODS:
        raise UsageError(f"There is no method {method!r}; choose {', '.join(METHODS)}.")


def _open(weights: Path) -> tuple[ModelCard, Network, Architecture]:
    """A checkpoint's card, its network, unfolded and in evaluation mode, and its kind."""
    card, state = checkpoint.load(weights)
    kind = architecture(card.architecture)
    network = kind.build(len(card.labels), card.input.size)
    network.load_state_dict(state, strict=False)  # batches seen by norms are not in checkpoints
    return card, network.eval(), kind
