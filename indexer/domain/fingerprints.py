"""Fingerprints: small gray copies of an image and of its face, by which near-duplicates are recognized.

Embeddings of two expressions of one character are often nearly equal, but their gray copies differ where the eyes or the mouth
differ: by 39 levels and more in one cell for the characters of tests/unit/test_fingerprints.py, while copies of images that were
resized and compressed differ by 6 levels or less in every cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from indexer.domain.types import Pixels

IMAGE_SIDE, REGION_SIDE = 16, 24
"""Sides of the gray copies of the whole image and of the region that was classified, in cells."""

FINGERPRINT_BYTES = IMAGE_SIDE**2 + REGION_SIDE**2

MAX_DIFFERENCE = 16
"""Levels, 0-255, by which cells of near-duplicates differ at most."""


def show_the_same(first: bytes, second: bytes) -> bool:
    """Return whether two fingerprints are of near-duplicates: both gray copies differ by at most `MAX_DIFFERENCE`.

    A cell may also equal its neighbors in the other copy, or lie between them: the boxes of a face in two copies of an image
    differ by a few pixels.
    """
    return all(
        _difference(one, other) <= MAX_DIFFERENCE and _difference(other, one) <= MAX_DIFFERENCE
        for one, other in zip(_gray_copies(first), _gray_copies(second), strict=True)
    )


def _gray_copies(fingerprint: bytes) -> tuple[Pixels, Pixels]:
    levels = np.frombuffer(fingerprint, dtype=np.uint8)
    if levels.size != FINGERPRINT_BYTES:
        raise ValueError(f"a fingerprint has {FINGERPRINT_BYTES} bytes, not {levels.size}")
    image, region = levels[: IMAGE_SIDE**2], levels[IMAGE_SIDE**2 :]
    return image.reshape(IMAGE_SIDE, IMAGE_SIDE), region.reshape(REGION_SIDE, REGION_SIDE)


def _difference(one: Pixels, other: Pixels) -> int:
    """Return by how much a cell of `one` is at most lighter or darker than all nearby cells of `other`."""
    side = len(other)
    padded = np.pad(other, 1, mode="edge")
    nearby = np.stack([padded[row : row + side, column : column + side] for row in range(3) for column in range(3)])
    levels = one.astype(np.int16)
    return int(np.maximum(levels - nearby.max(axis=0), nearby.min(axis=0) - levels).max())
