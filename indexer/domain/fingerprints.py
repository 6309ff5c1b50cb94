"""Fingerprints: small gray copies of images, by which near-duplicates are recognized.

Embeddings of two expressions of one character are often nearly equal, but their gray copies differ where the eyes or the mouth
differ: by 66 levels and more in one cell for drawings as in tests/unit/test_fingerprints.py. Copies of example images that were
halved, or saved again with a JPEG quality of 60, differ by 8 levels or less in every cell.
"""

from __future__ import annotations

import numpy as np

SIDE = 32
"""Side of a gray copy, in cells, whatever the aspect ratio of the image."""

FINGERPRINT_BYTES = SIDE**2

MAX_DIFFERENCE = 16
"""Levels, 0-255, by which a cell of two near-duplicates differs at most."""


def show_the_same(first: bytes, second: bytes) -> bool:
    """Return whether two fingerprints are of near-duplicates. Raises ValueError for bytes that are no fingerprint."""
    one, other = (np.frombuffer(fingerprint, dtype=np.uint8).astype(np.int16) for fingerprint in (first, second))
    if not one.size == other.size == FINGERPRINT_BYTES:
        raise ValueError(f"a fingerprint has {FINGERPRINT_BYTES} bytes, not {one.size} and {other.size}")
    return int(np.abs(one - other).max()) <= MAX_DIFFERENCE
