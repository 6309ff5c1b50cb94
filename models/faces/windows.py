"""Windows: the parts of a page that the face detection network processes one by one.

Most pages are one window. A page much longer than wide, such as a strip or a panorama, would shrink to a line in the network's
square input; it is cut into overlapping square windows along its longer side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Floats, Pixels

    Bools = npt.NDArray[np.bool_]

MAX_ASPECT = 4.0
"""Longer side of a page, in shorter sides, up to which it is one window. Standing figures are three times as tall as wide."""

_EDGE_SHARE = 0.02
"""Distance from the edge of a window, as a share of its side, within which a box touches the edge."""


class Window(NamedTuple):
    """A rectangle of a page, in pixels. `is_part`: the page is larger."""

    top: int
    left: int
    height: int
    width: int
    is_part: bool

    @property
    def side(self) -> int:
        """The side of the square around the window, with the same center."""
        return max(self.height, self.width)

    def cut(self, page: Pixels) -> Pixels:
        """Return the pixels of the window."""
        return page[self.top : self.top + self.height, self.left : self.left + self.width]

    def to_page(self, boxes: Floats) -> Floats:
        """Convert boxes, (M, 4), from shares of the square to pixels of the page."""
        x, y = self.left + self.width / 2, self.top + self.height / 2
        converted: Floats = (boxes - np.float32(0.5)) * np.float32(self.side) + np.array([x, y, x, y], dtype=np.float32)
        return converted


def windows(height: int, width: int, overlap: float) -> list[Window]:
    """Return the windows of a page; those of a long page overlap by at least that share of their side, 0-1."""
    shorter, longer = min(height, width), max(height, width)
    if longer <= MAX_ASPECT * shorter:
        return [Window(0, 0, height, width, is_part=False)]
    count = 1 + int(np.ceil((longer - shorter) / (shorter * (1 - overlap))))
    starts = np.linspace(0, longer - shorter, count).round().astype(int).tolist()
    corners = [(start, 0) if height > width else (0, start) for start in starts]
    return [Window(top, left, shorter, shorter, is_part=True) for top, left in corners]


def is_cut_off(boxes: Floats, window: Window, page: tuple[int, int], overlap: float) -> Bools:
    """Return which boxes, (M, 4), in pixels, are of faces of which another window of a long page contains more: bool, (M,).

    These touch an edge of the window that is not an edge of the page, of height and width `page`. No window is sure to contain
    more of a face that is longer than `overlap`, the share of the window's side by which windows overlap.
    """
    axis = 1 if page[0] > page[1] else 0
    start, length = (window.top, page[0]) if axis else (window.left, page[1])
    near = _EDGE_SHARE * window.side
    low, high = boxes[:, axis], boxes[:, axis + 2]
    touches_start = (low < start + near) & (start > 0)
    touches_end = (high > start + window.side - near) & (start + window.side < length)
    cut_off: Bools = (touches_start | touches_end) & (high - low <= overlap * window.side)
    return cut_off
