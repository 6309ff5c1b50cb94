"""The windows of long pages: they cover the page, overlap, and show each face as a whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.domain.images import Face
from models.faces.card import FaceCard
from models.faces.decode_boxes import STRIDE
from models.faces.detector import NetworkFaceDetector
from models.faces.windows import MAX_ASPECT, Window, is_cut_off, windows

SIDE = 96
SQUARE_PIXELS = 40
BACKGROUND = 255


class SquareFinder:
    """An engine that finds black squares: their centers have a high logit, and the distances of their edges."""

    name, device, batch_size, streams = "squares", "cpu", 4, 1

    def run(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cells = pixels.shape[1] // STRIDE
        logits = np.full((len(pixels), cells, cells), -9.0, dtype=np.float32)
        distances = np.zeros((len(pixels), 4, cells, cells), dtype=np.float32)
        for number, page in enumerate(pixels):
            rows, columns = (np.flatnonzero((page[..., 0] < 128).any(axis=axis)) for axis in (1, 0))
            if len(rows):
                top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
                row, column = (min(cells - 1, int(middle / 2 // STRIDE)) for middle in (top + bottom, left + right))
                y, x = (row + 0.5) * STRIDE, (column + 0.5) * STRIDE
                logits[number, row, column] = 4.0
                distances[number, :, row, column] = x - left, y - top, right - x, bottom - y
        return logits, distances


def detect(page: np.ndarray) -> list[Face]:
    detector = NetworkFaceDetector(FaceCard("", SIDE, 0.5), SquareFinder(), SquareFinder)
    (faces,) = detector.detect([page])
    return faces


class TwoCells:
    """An engine that gives two cells, far apart, probabilities, with boxes of 20 pixels."""

    name, device, batch_size, streams = "cells", "cpu", 4, 1

    def __init__(self, *probabilities: float) -> None:
        self._logits = [float(np.log(probability / (1 - probability))) for probability in probabilities]

    def run(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cells = pixels.shape[1] // STRIDE
        logits = np.full((len(pixels), cells, cells), -9.0, dtype=np.float32)
        logits[:, 2, 2], logits[:, 8, 8] = self._logits
        return logits, np.full((len(pixels), 4, cells, cells), 10.0, dtype=np.float32)


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ((0.9, 0.6), [0.9, 0.6]),
        ((0.9, 0.4), [0.9]),
        ((0.35, 0.4), [0.4]),
        ((0.2, 0.1), []),
    ],
)
def test_the_most_probable_face_of_a_page_needs_less(probabilities: tuple[float, float], expected: list[float]) -> None:
    engine = TwoCells(*probabilities)
    page = np.full((SIDE, SIDE, 3), BACKGROUND, dtype=np.uint8)
    (faces,) = NetworkFaceDetector(FaceCard("", SIDE, 0.5), engine, lambda: engine).detect([page])
    assert sorted((face.probability for face in faces), reverse=True) == pytest.approx(expected)


def page_with_square(height: int, width: int, top: int, left: int, side: int = SQUARE_PIXELS) -> np.ndarray:
    page = np.full((height, width, 3), BACKGROUND, dtype=np.uint8)
    page[top : top + side, left : left + side] = 0
    return page


@given(st.integers(1, 3000), st.integers(1, 3000), st.floats(0, 0.9))
def test_windows_cover_the_page_and_overlap(height: int, width: int, overlap: float) -> None:
    found = windows(height, width, overlap)
    if max(height, width) <= MAX_ASPECT * min(height, width):
        assert found == [Window(0, 0, height, width, is_part=False)]
        return
    side = min(height, width)
    starts = [window.top + window.left for window in found]
    assert starts[0] == 0 and starts[-1] + side == max(height, width)
    assert all(window.height == window.width == side and window.is_part for window in found)
    assert max(np.diff(starts)) <= side * (1 - overlap) + 1


@pytest.mark.parametrize("top", [0, 333, 1200, 2960])
@pytest.mark.parametrize("is_wide", [False, True])
def test_a_face_anywhere_on_a_long_page_is_detected_once(top: int, is_wide: bool) -> None:
    page = page_with_square(3000, 100, top, 30)
    (face,) = detect(page.transpose(1, 0, 2).copy() if is_wide else page)
    start, end = (face.left, face.right) if is_wide else (face.top, face.bottom)
    assert (start * 3000, end * 3000) == pytest.approx((top, top + SQUARE_PIXELS), abs=4)


def test_a_face_as_wide_as_the_page_is_detected() -> None:
    faces = detect(page_with_square(1500, 100, 700, 4, side=92))
    assert [round(face.top * 1500) for face in faces] == [pytest.approx(700, abs=8)]


def test_a_line_of_pixels_has_no_face() -> None:
    assert detect(np.full((2000, 1, 3), BACKGROUND, dtype=np.uint8)) == []


def test_only_inner_edges_cut_off() -> None:
    window = Window(100, 0, 100, 100, is_part=True)
    boxes = np.array([[0, 120, 30, 150], [40, 100, 60, 130], [40, 150, 60, 200], [40, 100, 60, 190]], dtype=np.float32)
    assert is_cut_off(boxes, window, (300, 100), 0.75).tolist() == [False, True, True, False]
    assert is_cut_off(boxes, window, (200, 100), 0.75).tolist() == [False, True, False, False]
