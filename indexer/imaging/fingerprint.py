"""The fingerprint of a region of an image, see `indexer.domain.fingerprints`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from indexer.domain.fingerprints import IMAGE_SIDE, REGION_SIDE

if TYPE_CHECKING:
    from indexer.domain.types import Pixels


def gray_image(pixels: Pixels) -> bytes:
    """Return the gray copy of a whole image, uint8, (H, W, 3): one byte for each cell, row by row."""
    return _gray_copy(pixels, IMAGE_SIDE)


def gray_region(pixels: Pixels) -> bytes:
    """Return the gray copy of a region, uint8, (H, W, 3), as the classifier sees it."""
    return _gray_copy(pixels, REGION_SIDE)


def _gray_copy(pixels: Pixels, side: int) -> bytes:
    return Image.fromarray(pixels).convert("L").resize((side, side), Image.Resampling.BOX).tobytes()
