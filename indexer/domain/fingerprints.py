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

_MAX_GAIN, _MAX_SHIFT = 1.25, 32.0
"""Limits of a change of contrast, as a factor, and of mean brightness, in levels, that leaves an image nearly the same."""


def show_the_same(first: bytes, second: bytes) -> bool:
    """Return whether two fingerprints are of near-duplicates. Raises ValueError for bytes that are no fingerprint."""
    return bool(np.abs(cells_of(first) - cells_of(second)).max() <= MAX_DIFFERENCE)


def hardly_differ(one: Floats, other: Floats) -> bool:
    """Return whether the groups of cells of two pictures, as of `groups_of`, differ no more than after an edit that hardly shows.

    Such an edit may remove a line or a speck. It may also make the whole picture somewhat brighter, darker, or of more or less
    contrast.
    """
    return _differ_little(one, other) or _differ_little(_toned_like(one, other), other)


def _differ_little(one: Floats, other: Floats) -> bool:
    differences = np.abs(one - other)
    return bool(differences.mean() <= _MAX_EDIT_MEAN and differences.max() <= _MAX_EDIT)


def _toned_like(one: Floats, other: Floats) -> Floats:
    """Return groups of cells with the brightness and contrast of others, as far as the limits admit."""
    middle, target = one.mean(), other.mean()
    around = one - middle
    spread = float((around**2).mean())
    gain = float((around * (other - target)).mean()) / spread if spread else 1.0
    shift = np.clip(target - middle, -_MAX_SHIFT, _MAX_SHIFT)
    toned: Floats = around * np.clip(gain, 1 / _MAX_GAIN, _MAX_GAIN) + (middle + shift)
    return toned


def groups_of(cells: Floats) -> Floats:
    """Return the means of groups of four cells, float32, (SIDE / 2, SIDE / 2)."""
    groups: Floats = cells.reshape(SIDE // 2, 2, SIDE // 2, 2).mean(axis=(1, 3))
    return groups


def cells_of(fingerprint: bytes) -> Floats:
    """Return the cells of a fingerprint, float32, (SIDE, SIDE). Raises ValueError for other bytes."""
    cells = np.frombuffer(fingerprint, dtype=np.uint8).astype(np.float32)
    if cells.size != FINGERPRINT_BYTES:
        raise ValueError(f"a fingerprint has {FINGERPRINT_BYTES} bytes, not {cells.size}")
    return cells.reshape(SIDE, SIDE)
