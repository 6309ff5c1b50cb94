"""The face detector on a device. A page is an image at working size. Imports torch only to compute with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from indexer.domain.images import Face
from indexer.imaging.resize import resized
from models.faces.card import SHIPPED, FaceCard, read_card
from models.faces.decode_boxes import DetectedBoxes, decode_detections, non_max_suppression
from models.inference.engines.onnx import OnnxEngine
from models.inference.engines.onnx_graph import graph_path, read_graph, weights_for
from models.inference.lazy import Lazy
from models.safetensors_io import read_arrays

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Pixels
    from models.inference.engines.base import Engine

MEAN, STD, WHITE = 127.0, 128.0, 255
"""Input of the network: (x - mean) / std of 0-255, each page centered in a white square."""

_MIN_PAGES_PER_BATCH = 16

_SECOND_PASS_SCALE = 2
"""A page longer than this many times the input gets a second pass at this scale, which finds smaller faces."""

_MAX_SECOND_PASS_FACE = 0.3
"""Side, as a share of the page, up to which faces of the second pass are used."""

_FILLING_FACE = 0.5
"""A page with a face of this share of its longest side gets no second pass: it has no room for other faces."""

_FILLING_PROBABILITY = 0.5

GRAPH = "moodex-faces"


class NetworkFaceDetector:
    """Implements `indexer.ports.models.FaceDetector`. The outputs of the engines are logits and distances.

    `near` computes pages at the size of the card; `far` opens the engine for the second pass. They may be the same engine.
    """

    def __init__(self, card: FaceCard, near: Engine, far: Callable[[], Engine]) -> None:
        self._card, self._near, self._far = card, near, Lazy(far)

    @property
    def key(self) -> str:
        return self._card.key

    def detect(self, pages: Sequence[Pixels]) -> list[list[Face]]:
        side = self._card.side
        first = self._detect(self._near, pages, side)
        large = [
            number
            for number, (page, (boxes, sure)) in enumerate(zip(pages, first, strict=True))
            if max(page.shape[:2]) > _SECOND_PASS_SCALE * side and not _is_filled(boxes, sure)
        ]
        second = self._detect(self._far(), [pages[number] for number in large], _SECOND_PASS_SCALE * side) if large else []
        for number, (boxes, sure) in zip(large, second, strict=True):
            small = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) <= _MAX_SECOND_PASS_FACE
            both = np.concatenate([first[number][0], boxes[small]]), np.concatenate([first[number][1], sure[small]])
            order = np.argsort(-both[1], kind="stable")
            first[number] = non_max_suppression(both[0][order], both[1][order])
        return [_faces(page, *one) for page, one in zip(pages, first, strict=True)]

    def _detect(self, engine: Engine, pages: Sequence[Pixels], side: int) -> list[DetectedBoxes]:
        """Return the boxes of each page, as shares of the square that it is fitted into, and their probabilities."""
        results: list[DetectedBoxes] = []
        # At least a batch of a GPU; the number of pixels stays the same for larger pages.
        at_once = max(1, max(_MIN_PAGES_PER_BATCH, engine.batch_size) * self._card.side**2 // side**2)
        for start in range(0, len(pages), at_once):
            squares = np.stack([_fitted(page, side) for page in pages[start : start + at_once]])
            results += [
                (boxes / np.float32(side), sure) for boxes, sure in decode_detections(*engine.run(squares), self._card.least)
            ]
        return results


def torch_face_detector(path: Path = SHIPPED, device: str = "auto") -> NetworkFaceDetector:
    """Open the detector at `path` with torch on a device. Raises ModelUnavailable and DeviceUnavailable."""
    from models.faces import checkpoint
    from models.faces.network import normalized_detector
    from models.inference.device import select_device, tune_malloc
    from models.inference.engines.pytorch import torch_engine

    chosen = select_device(device)
    tune_malloc()
    card, state = checkpoint.load(path)

    def open_engine(side: int) -> Engine:
        return torch_engine(partial(normalized_detector, state, MEAN, STD), chosen, side)

    return NetworkFaceDetector(card, open_engine(card.side), lambda: open_engine(_SECOND_PASS_SCALE * card.side))


def has_graphs(path: Path = SHIPPED) -> bool:
    """Return whether ONNX Runtime can compute the detector at `path`."""
    return all(graph.exists() for graph in _graphs(read_card(path)))


def onnx_face_detector(path: Path = SHIPPED, threads: int = 0) -> NetworkFaceDetector:
    """Open the detector at `path` with ONNX Runtime. Raises ModelUnavailable, and MissingExtra if that is not installed."""
    card = read_card(path)
    state = read_arrays(path, card.weights_digest)
    # The activations of one page fit the cache of a core; several cores need more than one page to be busy.
    at_once = 1 if threads == 1 else 0

    def open_engine(path: Path) -> Engine:
        graph = read_graph(path)
        return OnnxEngine(graph.onnx, weights_for(graph, state), threads, at_once)

    near, far = _graphs(card)
    return NetworkFaceDetector(card, open_engine(near), lambda: open_engine(far))


def _graphs(card: FaceCard) -> tuple[Path, Path]:
    return graph_path(GRAPH, card.side), graph_path(GRAPH, _SECOND_PASS_SCALE * card.side)


def _is_filled(boxes: Floats, sure: Floats) -> bool:
    """Return whether a probable box, of (N, 4) as shares of the page, fills most of the page."""
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    return bool(((sides >= _FILLING_FACE) & (sure >= _FILLING_PROBABILITY)).any())


def _fitted(page: Pixels, side: int) -> Pixels:
    """Return a page, uint8, (H, W, 3), resized into the center of a white square, (side, side, 3)."""
    scale = side / max(page.shape[:2])
    height, width = (max(1, round(length * scale)) for length in page.shape[:2])
    small = np.asarray(resized(Image.fromarray(page), (width, height), Image.Resampling.BILINEAR))
    square = np.full((side, side, 3), WHITE, dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = small
    return square


def _faces(page: Pixels, boxes: Floats, sure: Floats) -> list[Face]:
    """Convert boxes of the square to faces of the page, largest first."""
    height, width = page.shape[:2]
    longest = max(height, width)
    faces = []
    for (left, top, right, bottom), probability in zip(boxes.tolist(), sure.tolist(), strict=True):
        across = [min(1.0, max(0.0, 0.5 + (edge - 0.5) * longest / width)) for edge in (left, right)]
        down = [min(1.0, max(0.0, 0.5 + (edge - 0.5) * longest / height)) for edge in (top, bottom)]
        if across[1] > across[0] and down[1] > down[0]:
            faces.append(Face(across[0], down[0], across[1], down[1], probability))
    return sorted(faces, key=lambda face: -face.area)
