"""A small picture of an indexed one, for contact sheets."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageDraw

from indexer.domain.errors import ImageError
from indexer.domain.images import InputSpec
from indexer.imaging.decode import decode
from indexer.system.safe_read import read

_SIZE = 192
_FRAMED = 0.3
"""The share of a picture below which a face in it is framed."""


def thumbnail(path: bytes, box: tuple[int, int, int, int] | None) -> bytes | None:
    """A picture of 192 x 192 pixels as PNG, with a frame around the box of a face that is but a small part of it; None where the
    file cannot be read any more.
    """
    try:
        image = decode(read(path)[0], InputSpec(size=_SIZE, mean=0, std=1))
    except (OSError, ImageError):
        return None
    picture = Image.fromarray(image.pixels)
    if box is not None and (box[2] - box[0]) * (box[3] - box[1]) < _FRAMED * image.width * image.height:
        scale = _SIZE / max(image.width, image.height)
        start = [(_SIZE - side * scale) / 2 for side in (image.width, image.height)]
        ImageDraw.Draw(picture).rectangle([start[n % 2] + edge * scale for n, edge in enumerate(box)], outline="#e8833a", width=3)
    small = BytesIO()
    picture.save(small, "PNG")
    return small.getvalue()
