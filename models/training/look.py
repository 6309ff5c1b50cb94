"""After the training: the space in which characters are told apart, fitted to the same pictures."""

from __future__ import annotations

import numpy as np
import torch

from models.network import Network
from models.registry import Architecture
from models.training.augment import Augment
from models.training.pictures import Pictures

_PICTURES = 6000
_STRENGTH = 0.4
_VIEWS = 2
_AT_ONCE = 64


@torch.no_grad()
def fit_look(network: Network, pictures: Pictures, kind: Architecture, device: torch.device, seed: int) -> None:
    """Fit the look of a network (in evaluation mode, on the device) that has one; nothing to do for others.

    Whole characters are drawn at random until some thousands of pictures are together, each as it is and slightly moved: a
    character's pictures then differ by what it feels and where it stands, which is what must not matter. A picture whose
    character nobody named is its own.
    """
    if network.look is None:
        return
    characters = np.unique(
        [f"{file.source.name}/{file.character}" if file.character else f"{row}" for row, file in enumerate(pictures.files)],
        return_inverse=True,
    )[1]
    order = np.random.default_rng(seed).permutation(characters.max() + 1)[characters]
    rows = np.argsort(order, kind="stable")[:_PICTURES]
    views = []
    for view in range(_VIEWS):
        for start in range(0, len(rows), _AT_ONCE):
            given = torch.from_numpy(pictures.pixels[rows[start : start + _AT_ONCE]])
            x = Augment(seed + start, _STRENGTH).moved(given) if view else given.permute(0, 3, 1, 2).float() / 255
            x = x.mul(255).sub_(kind.mean).div_(kind.std).to(device=device, memory_format=torch.channels_last)
            views.append(network.look.coarse(network.early(x)).float().cpu())
    network.look.cpu().fit(torch.cat(views), np.tile(characters[rows], _VIEWS))
    network.look.to(device)
