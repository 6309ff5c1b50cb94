"""The fingerprint of an image, see `indexer.domain.fingerprints`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from indexer.domain.fingerprints import SIDE

if TYPE_CHECKING:
    from indexer.domain.types import Pixels


def fingerprint(pixels: Pixels) -> bytes:
    """Return the gray copy of an image, uint8, (H, W, 3): one byte for each cell, row by row."""
    return Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()
