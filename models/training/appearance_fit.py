"""Fitting of the appearance part of the embedding to the training images, after the training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from models.training.augment import Augment

if TYPE_CHECKING:
    from models.architectures.network import Network
    from models.architectures.registry import Architecture
    from models.training.dataset import LabeledImages

_MAX_IMAGES = 6000
_STRENGTH = 0.4
"""Strength of the augmentation; see `models.training.augment.Augment`."""

_VIEWS = ("original", "moved", "copied")
"""Views of each image that the projection is fitted to; the last two are methods of `Augment`."""

_BATCH_SIZE = 64


@torch.no_grad()
def fit_appearance(network: Network, images: LabeledImages, kind: Architecture, device: torch.device, seed: int) -> None:
    """Fit the appearance projection of a network, in place; do nothing if it has none.

    - `network`: in evaluation mode, on `device`. `kind`: its architecture.
    - `images`: the training images. The fit uses those of characters drawn at random, up to `_MAX_IMAGES` images.
    - `seed`: makes the draw and the views reproducible.

    Each image is used unchanged, moved, and as a bad copy. The images of a character then differ in expression, position and
    quality, which the projection learns to ignore. An image without a character counts as a separate character.
    """
    if network.look is None:
        return
    characters = np.unique(
        [f"{file.source.name}/{file.character}" if file.character else f"{row}" for row, file in enumerate(images.files)],
        return_inverse=True,
    )[1]
    character_order = np.random.default_rng(seed).permutation(characters.max() + 1)[characters]
    rows = np.argsort(character_order, kind="stable")[:_MAX_IMAGES]
    sample = images.take(rows)
    views = [
        network.look.coarse(network.early(x.to(device=device, memory_format=torch.channels_last))).float().cpu()
        for view in _VIEWS
        for x in _batches(sample, view, kind, seed)
    ]
    network.look.cpu().fit(torch.cat(views), np.tile(characters[rows], len(_VIEWS)))
    network.look.to(device)


def _batches(images: LabeledImages, view: str, kind: Architecture, seed: int) -> Iterator[Tensor]:
    """Yield batches of a view of the images, normalized, float, (N, 3, size, size)."""
    for start in range(0, len(images), _BATCH_SIZE):
        pixels = torch.from_numpy(images.pixels[start : start + _BATCH_SIZE])
        augment = Augment(seed + start, _STRENGTH)
        transforms = {"moved": augment.moved, "copied": augment.copied}
        x = transforms[view](pixels) if view in transforms else pixels.permute(0, 3, 1, 2).float() / 255
        yield x.mul(255).sub_(kind.mean).div_(kind.std)
