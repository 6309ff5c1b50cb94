"""Whether two images show nearly the same."""

from __future__ import annotations

PERCEPTUAL_SIDE = 16
"""Side of the grid of a perceptual hash: the mean brightness, 0-255, of each cell of an image, row by row, in one byte each."""

_MAX_MEAN_DIFFERENCE, _MAX_CELL_DIFFERENCE = 3.0, 24
"""Differences of brightness, 0-255, between images that are nearly the same."""


def nearly_same(first: bytes | None, second: bytes | None) -> bool:
    """Return whether two images look nearly the same, given their perceptual hashes; False if one is unknown."""
    if first is None or second is None or len(first) != len(second):
        return False
    differences = [abs(one - other) for one, other in zip(first, second, strict=True)]
    return sum(differences) <= _MAX_MEAN_DIFFERENCE * len(differences) and max(differences) <= _MAX_CELL_DIFFERENCE
