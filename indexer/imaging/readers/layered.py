"""Reader of Krita and OpenRaster files: archives that hold, beside the layers, the merged image."""

from __future__ import annotations

import struct
from io import BytesIO

from PIL import Image, PngImagePlugin

from indexer.domain.errors import Damaged
from indexer.imaging.readers.archive import read_member

_MERGED = "mergedimage.png"
_MAX_MERGED_BYTES = 1 << 28
"""Limit of the merged image as PNG, 256 MiB."""

_HEAD_BYTES = 128
"""The first bytes of the archive, which hold its type."""


def open_image(data: bytes) -> Image.Image:
    """Open the merged image. Raises Damaged if it is missing, damaged or too large."""
    merged = read_member(data, _MERGED.__eq__, _MAX_MERGED_BYTES)
    if merged is None:
        raise Damaged(f"it has no merged image ({_MERGED}); save it as PNG")
    try:
        image = PngImagePlugin.PngImageFile(BytesIO(merged))
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        raise Damaged("its merged image is damaged; save the file again in the program that made it") from error
    image.format = "KRA" if b"application/x-krita" in data[:_HEAD_BYTES] else "ORA"
    return image
