"""The face detector on a device.

A page is a decoded image, uint8, (H, W, 3), RGB, of any size. This module imports torch only to compute with it.
"""

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
"""Input of the network: values 0-255, normalized as (x - mean) / std; each page is centered in a white square."""

_MIN_PAGES_PER_BATCH = 16

_SECOND_PASS_SCALE = 2
"""Factor of the input side in a second pass, which detects smaller faces. Pages longer than that side get one."""

_MAX_SECOND_PASS_SIDE = 0.3
"""Largest side of a face from the second pass, as a share of the page's longest side: the first pass detects larger ones."""

_FILLING_SIDE = 0.5
"""Side of a face, as a share of the page's longest side, from which the page has no room for other faces and no second pass."""

_FILLING_PROBABILITY = 0.5
"""Least probability of such a face."""

GRAPH = "moodex-faces"
"""Name of the detector's ONNX graphs; see `models.inference.engines.onnx_graph.graph_path`."""


class NetworkFaceDetector:
    """Implements `indexer.ports.models.FaceDetector` with engines that return logits and distances.

    See `models.faces.decode_boxes.decode_detections` for the outputs.
    """

    def __init__(self, card: FaceCard, near: Engine, far: Callable[[], Engine]) -> None:
        """`near` takes pages at the size of the card. `far` opens an engine for the second pass, perhaps the same one."""
        self._card, self._near, self._far = card, near, Lazy(far)

    @property
    def key(self) -> str:
        return self._card.key

    def detect(self, pages: Sequence[Pixels]) -> list[list[Face]]:
        side = self._card.side
        detections = self._detect(self._near, pages, side)
        large = [
            number
            for number, (page, (boxes, probabilities)) in enumerate(zip(pages, detections, strict=True))
            if max(page.shape[:2]) > _SECOND_PASS_SCALE * side and not _is_filled(boxes, probabilities)
        ]
        second = self._detect(self._far(), [pages[number] for number in large], _SECOND_PASS_SCALE * side) if large else []
        for number, (boxes, probabilities) in zip(large, second, strict=True):
            is_small = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) <= _MAX_SECOND_PASS_SIDE
            all_boxes = np.concatenate([detections[number][0], boxes[is_small]])
            all_probabilities = np.concatenate([detections[number][1], probabilities[is_small]])
            order = np.argsort(-all_probabilities, kind="stable")
            detections[number] = non_max_suppression(all_boxes[order], all_probabilities[order])
        return [_to_faces(page, *detected) for page, detected in zip(pages, detections, strict=True)]

    def _detect(self, engine: Engine, pages: Sequence[Pixels], side: int) -> list[DetectedBoxes]:
        """Detect the faces of pages that are fitted into squares of `side` pixels; boxes are in shares of the square, 0-1."""
        results: list[DetectedBoxes] = []
        # A batch has as many pixels in the second pass as in the first.
        batch_size = max(1, max(_MIN_PAGES_PER_BATCH, engine.batch_size) * self._card.side**2 // side**2)
        for start in range(0, len(pages), batch_size):
            squares = np.stack([_fitted(page, side) for page in pages[start : start + batch_size]])
            detections = decode_detections(*engine.run(squares), self._card.least)
            results += [(boxes / np.float32(side), probabilities) for boxes, probabilities in detections]
        return results


def torch_face_detector(path: Path = SHIPPED, device: str = "auto") -> NetworkFaceDetector:
    """Open the detector at `path` with torch on a device: "auto", "cpu", "cuda", "cuda:N" or "mps".

    Raises ModelUnavailable and DeviceUnavailable.
    """
    from models.faces import checkpoint
    from models.faces.network import normalized_detector
    from models.inference.device import select_device, tune_malloc
    from models.inference.engines.pytorch import torch_engine

    selected = select_device(device)
    tune_malloc()
    card, state = checkpoint.load(path)

    def open_engine(side: int) -> Engine:
        return torch_engine(partial(normalized_detector, state, MEAN, STD), selected, side)

    return NetworkFaceDetector(card, open_engine(card.side), lambda: open_engine(_SECOND_PASS_SCALE * card.side))


def has_graphs(path: Path = SHIPPED) -> bool:
    """Return whether the ONNX graphs of the detector at `path` are installed."""
    return all(graph.exists() for graph in _graphs(read_card(path)))


def onnx_face_detector(path: Path = SHIPPED, threads: int = 0) -> NetworkFaceDetector:
    """Open the detector at `path` with ONNX Runtime; `threads` compute each batch, 0 uses all cores.

    Raises ModelUnavailable, and MissingExtra if ONNX Runtime is not installed.
    """
    card = read_card(path)
    state = read_arrays(path, card.weights_digest)
    # The activations of one page fit the cache of a core; several cores need more than one page to be busy.
    batch_size = 1 if threads == 1 else 0

    def open_engine(path: Path) -> Engine:
        graph = read_graph(path)
        return OnnxEngine(graph.onnx, weights_for(graph, state), threads, batch_size)

    near, far = _graphs(card)
    return NetworkFaceDetector(card, open_engine(near), lambda: open_engine(far))


def _graphs(card: FaceCard) -> tuple[Path, Path]:
    return graph_path(GRAPH, card.side), graph_path(GRAPH, _SECOND_PASS_SCALE * card.side)


def _is_filled(boxes: Floats, probabilities: Floats) -> bool:
    """Return whether one probable face of (M, 4), in shares of the square, fills most of a page."""
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    return bool(((sides >= _FILLING_SIDE) & (probabilities >= _FILLING_PROBABILITY)).any())


def _fitted(page: Pixels, side: int) -> Pixels:
    """Return a page, resized to fit and centered in a white square, uint8, (side, side, 3)."""
    scale = side / max(page.shape[:2])
    height, width = (max(1, round(length * scale)) for length in page.shape[:2])
    resized_page = np.asarray(resized(Image.fromarray(page), (width, height), Image.Resampling.BILINEAR))
    square = np.full((side, side, 3), WHITE, dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = resized_page
    return square


def _to_faces(page: Pixels, boxes: Floats, probabilities: Floats) -> list[Face]:
    """Convert boxes, (M, 4), in shares of the square, to faces in shares of the page, the largest first.

    Boxes are cut at the edges of the page; a box outside the page is dropped.
    """
    height, width = page.shape[:2]
    longest = max(height, width)
    faces = []
    for (left, top, right, bottom), probability in zip(boxes.tolist(), probabilities.tolist(), strict=True):
        x = [min(1.0, max(0.0, 0.5 + (edge - 0.5) * longest / width)) for edge in (left, right)]
        y = [min(1.0, max(0.0, 0.5 + (edge - 0.5) * longest / height)) for edge in (top, bottom)]
        if x[1] > x[0] and y[1] > y[0]:
            faces.append(Face(x[0], y[0], x[1], y[1], probability))
    return sorted(faces, key=lambda face: -face.area)
