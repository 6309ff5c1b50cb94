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
from models.faces.card import LEAST_OF_ONLY_FACE, SHIPPED, FaceCard, read_card
from models.faces.decode_boxes import DetectedBoxes, decode_detections, non_max_suppression
from models.faces.windows import Window, is_cut_off, windows
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

_OVERLAP, _FAR_OVERLAP = 0.75, 1 / 3
"""Overlap of the windows of a long page in each pass. A face up to that size is whole in one of them."""

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
        near_windows = [windows(page.shape[0], page.shape[1], _OVERLAP) for page in pages]
        detections = self._detect(self._near, pages, near_windows, side)
        far_windows = [
            []
            if _is_filled(detected, page)
            else [window for window in windows(page.shape[0], page.shape[1], _FAR_OVERLAP) if _is_large(window, side)]
            for page, detected in zip(pages, detections, strict=True)
        ]
        if any(far_windows):
            second = self._detect(self._far(), pages, far_windows, _SECOND_PASS_SCALE * side)
            detections = [_joined(*both) for both in zip(detections, second, strict=True)]
        return [_to_faces(page, *self._probable(detected)) for page, detected in zip(pages, detections, strict=True)]

    def _probable(self, detected: DetectedBoxes) -> DetectedBoxes:
        """Return the boxes of at least the lowest probability of the card, or else the most probable one."""
        boxes, probabilities = detected
        count = max(1, int((probabilities >= self._card.least).sum()))
        return boxes[:count], probabilities[:count]

    def _detect(
        self, engine: Engine, pages: Sequence[Pixels], windows_by_page: Sequence[Sequence[Window]], side: int
    ) -> list[DetectedBoxes]:
        """Detect the faces in windows that are fitted into squares of `side` pixels; boxes are in pixels of the page.

        A face in the second pass, or in a part of a page, is dropped if it is too large for that pass or cut off by the window.
        """
        is_far = side > self._card.side
        results: list[list[DetectedBoxes]] = [[] for _ in pages]
        queue = [(number, window) for number, own in enumerate(windows_by_page) for window in own]
        # A batch has as many pixels in the second pass as in the first.
        batch_size = max(1, max(_MIN_PAGES_PER_BATCH, engine.batch_size) * self._card.side**2 // side**2)
        for start in range(0, len(queue), batch_size):
            batch = queue[start : start + batch_size]
            squares = np.stack([_fitted(window.cut(pages[number]), side) for number, window in batch])
            detections = decode_detections(*engine.run(squares), min(self._card.least, LEAST_OF_ONLY_FACE))
            for (number, window), (boxes, probabilities) in zip(batch, detections, strict=True):
                shares = boxes / np.float32(side)
                sides = (shares[:, 2:] - shares[:, :2]).max(axis=1, initial=0)
                on_page = window.to_page(shares)
                keep = sides <= (_MAX_SECOND_PASS_SIDE if is_far else np.inf)
                if window.is_part:
                    keep &= ~is_cut_off(on_page, window, pages[number].shape[:2], _FAR_OVERLAP if is_far else _OVERLAP)
                results[number].append((on_page[keep], probabilities[keep]))
        return [_joined(*own) for own in results]


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


def _joined(*detections: DetectedBoxes) -> DetectedBoxes:
    """Return the faces of several windows or passes, each once."""
    if len(detections) == 1:
        return detections[0]
    boxes = np.concatenate([boxes for boxes, _ in detections] or [np.empty((0, 4), dtype=np.float32)])
    probabilities = np.concatenate([own for _, own in detections] or [np.empty(0, dtype=np.float32)])
    order = np.argsort(-probabilities, kind="stable")
    return non_max_suppression(boxes[order], probabilities[order])


def _is_large(window: Window, side: int) -> bool:
    """Return whether a second pass shows more of a window than the first one, at `side` pixels, did."""
    return window.side > side * (1 if window.is_part else _SECOND_PASS_SCALE)


def _is_filled(detected: DetectedBoxes, page: Pixels) -> bool:
    """Return whether one probable face fills most of a page."""
    boxes, probabilities = detected
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    return bool(((sides >= _FILLING_SIDE * max(page.shape[:2])) & (probabilities >= _FILLING_PROBABILITY)).any())


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
    """Convert boxes, (M, 4), in pixels of the page, to faces in shares of its sides, the largest first.

    Boxes are cut at the edges of the page; a box outside the page is dropped.
    """
    height, width = page.shape[:2]
    faces = []
    for (left, top, right, bottom), probability in zip(boxes.tolist(), probabilities.tolist(), strict=True):
        x = [min(1.0, max(0.0, edge / width)) for edge in (left, right)]
        y = [min(1.0, max(0.0, edge / height)) for edge in (top, bottom)]
        if x[1] > x[0] and y[1] > y[0]:
            faces.append(Face(x[0], y[0], x[1], y[1], probability))
    return sorted(faces, key=lambda face: -face.area)
