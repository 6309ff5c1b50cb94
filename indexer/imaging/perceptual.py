"""The perceptual hash of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from indexer.domain.perceptual import PERCEPTUAL_SIDE

if TYPE_CHECKING:
    from indexer.domain.types import Pixels


def perceptual_hash(pixels: Pixels) -> bytes:
    """Return the hash of an image, uint8, (H, W, 3), see `indexer.domain.perceptual`."""
    side = PERCEPTUAL_SIDE
    return Image.fromarray(pixels).convert("L").resize((side, side), Image.Resampling.BOX).tobytes()
