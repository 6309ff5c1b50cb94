"""After the training: the space in which characters are told apart, fitted to the same pictures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from models.architectures.network import Network
from models.architectures.registry import Architecture
from models.training.augment import Augment
from models.training.dataset import LabeledImages

_PICTURES = 6000
_STRENGTH = 0.4
_VIEWS = ("as it is", "moved", "copied")
_AT_ONCE = 64


@torch.no_grad()
def fit_look(network: Network, pictures: LabeledImages, kind: Architecture, device: torch.device, seed: int) -> None:
    """Fit the look of a network (in evaluation mode, on the device) that has one; nothing to do for others.

    Whole characters are drawn at random until some thousands of pictures are together, each as it is, slightly moved, and badly
    copied: a character's pictures then differ by what it feels, where it stands and how often it was saved, which is what must
    not matter. A picture whose character nobody named is its own.
    """
    if network.look is None:
        return
    characters = np.unique(
        [f"{file.source.name}/{file.character}" if file.character else f"{row}" for row, file in enumerate(pictures.files)],
        return_inverse=True,
    )[1]
    order = np.random.default_rng(seed).permutation(characters.max() + 1)[characters]
    rows = np.argsort(order, kind="stable")[:_PICTURES]
    chosen = pictures.take(rows)
    views = [
        network.look.coarse(network.early(x.to(device=device, memory_format=torch.channels_last))).float().cpu()
        for view in _VIEWS
        for x in _batches(chosen, view, kind, seed)
    ]
    network.look.cpu().fit(torch.cat(views), np.tile(characters[rows], len(_VIEWS)))
    network.look.to(device)


def _batches(pictures: LabeledImages, view: str, kind: Architecture, seed: int) -> Iterator[Tensor]:
    for start in range(0, len(pictures), _AT_ONCE):
        given = torch.from_numpy(pictures.pixels[start : start + _AT_ONCE])
        augment = Augment(seed + start, _STRENGTH)
        ways = {"moved": augment.moved, "copied": augment.copied}
        x = ways[view](given) if view in ways else given.permute(0, 3, 1, 2).float() / 255
        yield x.mul(255).sub_(kind.mean).div_(kind.std)
