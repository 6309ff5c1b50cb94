"""Reader of Krita and OpenRaster files: archives that hold, beside the layers, the merged image."""

from __future__ import annotations

from io import BytesIO
from zipfile import ZipFile

from PIL import Image, PngImagePlugin

from indexer.domain.errors import Damaged

_MERGED = "mergedimage.png"
_MAX_MERGED_BYTES = 1 << 28
"""Limit of the merged image as PNG, 256 MiB."""


def open_image(data: bytes) -> Image.Image:
    """Open the merged image. Raises Damaged if it is missing or too large."""
    with ZipFile(BytesIO(data)) as archive:
        if _MERGED not in archive.namelist():
            raise Damaged(f"it has no merged image ({_MERGED}); save it as PNG")
        with archive.open(_MERGED) as member:
            merged = member.read(_MAX_MERGED_BYTES + 1)
    if len(merged) > _MAX_MERGED_BYTES:
        raise Damaged(f"its merged image exceeds the limit of {_MAX_MERGED_BYTES >> 20} MiB")
    image = PngImagePlugin.PngImageFile(BytesIO(merged))
    image.format = "KRA" if b"application/x-krita" in data[:_HEAD_BYTES] else "ORA"
    return image


_HEAD_BYTES = 128
"""The first bytes of the archive, which hold its type."""
