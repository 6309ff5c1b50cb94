"""Limits of the size of an image."""

from __future__ import annotations

from indexer.domain.errors import Damaged

MAX_PIXELS = 128_000_000
"""Limit of pixels: larger than any page scan, and about half a gigabyte as RGBA."""

MAX_SIDE = 262_144
"""Limit of the longest side: for millions of lines, Pillow's line tables alone take gigabytes."""


def refuse_bomb(size: tuple[int, int]) -> None:
    """Check the width and height of an image in pixels. Raises Damaged if they exceed a limit."""
    if size[0] * size[1] > MAX_PIXELS:
        raise bomb(size)
    if max(size) > MAX_SIDE:
        raise Damaged(f"a side of {max(size)} pixels exceeds the limit of {MAX_SIDE}")


def bomb(size: tuple[int, int] | None = None) -> Damaged:
    """Return the error for an image with too many pixels."""
    subject = f"its size of {size[0]} x {size[1]} pixels" if size else "its size"
    return Damaged(f"{subject} exceeds the limit of {MAX_PIXELS // 1_000_000} million pixels")
