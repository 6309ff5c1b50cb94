"""The trained detector on a device: pages in, faces out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from indexer.domain import Face
from indexer.errors import ModelUnavailable
from models.device import choose_device, keep_memory
from models.faces import checkpoint
from models.faces.boxes import distinct, found
from models.faces.card import SHIPPED, FaceCard
from models.faces.network import FaceNet
from models.fold import fold_norms

if TYPE_CHECKING:
    from indexer.domain import Pixels

MEAN, STD, WHITE = 127.0, 128.0, 255
"""As the network was trained: (x - mean) / std of 0-255, pages in the middle of a white square."""

_AT_ONCE = 16
_LARGE = 2
"""Pages more than so many times as long as the network's input are looked at a second time, twice as large."""

_SMALL = 0.3
"""Faces no larger than this share of the page are taken from the second look."""


class TorchFaceFinder:
    """Implements `indexer.ports.FaceFinder`."""

    def __init__(self, card: FaceCard, state: Mapping[str, Tensor], device: torch.device) -> None:
        self._card = card
        with torch.device("meta"):
            network = FaceNet()
        try:
            network.load_state_dict(dict(state), assign=True)
        except RuntimeError as error:
            raise ModelUnavailable("The file holds no face detector: its tensors are not those of the network.") from error
        fold_norms(network)
        network.requires_grad_(False)
        self._network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = device

    @classmethod
    def open(cls, path: Path = SHIPPED, device: str = "auto") -> Self:
        """The detector at `path` on a device. Raises ModelUnavailable and DeviceUnavailable."""
        chosen = choose_device(device)
        keep_memory()
        return cls(*checkpoint.load(path), chosen)

    @property
    def key(self) -> str:
        return self._card.key

    @torch.inference_mode()
    def find(self, pages: Sequence[Pixels]) -> list[list[Face]]:
        tensors = [torch.from_numpy(np.require(page, requirements=("C", "W"))).permute(2, 0, 1) for page in pages]
        side = self._card.side
        first = self._look(tensors, side)
        large = [number for number, page in enumerate(tensors) if max(page.shape[1:]) > _LARGE * side]
        for number, (boxes, sure) in zip(large, self._look([tensors[number] for number in large], 2 * side), strict=True):
            small = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1) <= _SMALL
            both = torch.cat([first[number][0], boxes[small]]), torch.cat([first[number][1], sure[small]])
            order = both[1].argsort(descending=True)
            first[number] = distinct(both[0][order], both[1][order])
        return [_faces(page, *one) for page, one in zip(tensors, first, strict=True)]

    def _look(self, pages: Sequence[Tensor], side: int) -> list[tuple[Tensor, Tensor]]:
        """Each page's boxes, as shares of the square that it was fitted into, and their probabilities."""
        results: list[tuple[Tensor, Tensor]] = []
        at_once = max(1, _AT_ONCE * self._card.side**2 // side**2)
        for start in range(0, len(pages), at_once):
            squares = torch.stack([_fitted(page, side) for page in pages[start : start + at_once]]).to(self._device)
            x = squares.float().sub(MEAN).div(STD).contiguous(memory_format=torch.channels_last)
            logits, distances = self._network(x)
            results += [(boxes / side, sure) for boxes, sure in found(logits.cpu(), distances.cpu(), self._card.least)]
        return results


def _fitted(page: Tensor, side: int) -> Tensor:
    """A page, uint8, (3, H, W), in the middle of a white square, (3, side, side)."""
    scale = side / max(page.shape[1:])
    height, width = (max(1, round(length * scale)) for length in page.shape[1:])
    small = functional.interpolate(page[None], size=(height, width), mode="bilinear", antialias=True)[0]
    square = torch.full((3, side, side), WHITE, dtype=torch.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[:, top : top + height, left : left + width] = small
    return square


def _faces(page: Tensor, boxes: Tensor, sure: Tensor) -> list[Face]:
    """Boxes of the square as faces of the page, largest first."""
    height, width = page.shape[1:]
    longest = max(height, width)
    faces = []
    for (left, top, right, bottom), probability in zip(boxes.tolist(), sure.tolist(), strict=True):
        across = [min(1.0, max(0.0, 0.5 + (edge - 0.5) * longest / width)) for edge in (left, right)]
        down = [min(1.0, max(0.0, 0.5 + (edge - 0.5) * longest / height)) for edge in (top, bottom)]
        if across[1] > across[0] and down[1] > down[0]:
            faces.append(Face(across[0], down[0], across[1], down[1], probability))
    return sorted(faces, key=lambda face: -face.area)
