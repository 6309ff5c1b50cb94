"""Fingerprints: small gray copies of images, by which near-duplicates and edited images are recognized.

Embeddings of two expressions of one character are often nearly equal, but their gray copies differ where the eyes or the mouth
differ: by 66 levels and more in one cell for drawings as in tests/unit/test_fingerprints.py. Copies of example images that were
halved, or saved again with a JPEG quality of 60, differ by 8 levels or less in every cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from indexer.domain.types import Floats

SIDE = 32
"""Side of a gray copy, in cells, whatever the aspect ratio of the image."""

FINGERPRINT_BYTES = SIDE**2

MAX_DIFFERENCE = 16
"""Levels, 0-255, by which a cell of two near-duplicates differs at most."""

_MAX_EDIT_MEAN, _MAX_EDIT = 3.0, 24.0
"""Levels by which groups of four cells differ at most after an edit that hardly shows: in the mean, and each of them."""


def show_the_same(first: bytes, second: bytes) -> bool:
    """Return whether two fingerprints are of near-duplicates. Raises ValueError for bytes that are no fingerprint."""
    return bool(np.abs(_difference(first, second)).max() <= MAX_DIFFERENCE)


def nearly_the_same(first: bytes | None, second: bytes | None) -> bool:
    """Return whether the image of a file still looks nearly the same after an edit; False if a fingerprint is unknown.

    An edit may remove a line or a speck, so cells are compared in groups of four. Raises ValueError for other bytes that are no
    fingerprint.
    """
    if not first or not second:
        return False
    groups = np.abs(_difference(first, second).reshape(SIDE // 2, 2, SIDE // 2, 2).mean(axis=(1, 3)))
    return bool(groups.mean() <= _MAX_EDIT_MEAN and groups.max() <= _MAX_EDIT)


def _difference(first: bytes, second: bytes) -> Floats:
    """Return the differences between the cells of two fingerprints, float32, (FINGERPRINT_BYTES,). Raises ValueError."""
    one, other = (np.frombuffer(fingerprint, dtype=np.uint8).astype(np.float32) for fingerprint in (first, second))
    if not one.size == other.size == FINGERPRINT_BYTES:
        raise ValueError(f"a fingerprint has {FINGERPRINT_BYTES} bytes, not {one.size} and {other.size}")
    difference: Floats = one - other
    return difference
