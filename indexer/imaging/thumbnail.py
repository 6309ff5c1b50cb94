"""Thumbnails of indexed images, for contact sheets."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageDraw

from indexer.domain.errors import ImageError
from indexer.domain.images import InputSpec
from indexer.imaging.decode_alone import decode_alone
from indexer.system.safe_read import read

_SIDE_PIXELS = 192
_MAX_BORDERED_FACE_SHARE = 0.3
"""A face gets a border if it covers less than this share of the image."""


def thumbnail(path: bytes, box: tuple[int, int, int, int] | None, frame: int | None = None) -> bytes | None:
    """Return a thumbnail of 192 x 192 pixels as PNG, with a border around a small face; None for an unreadable file.

    `box` is the face's left, top, right and bottom edge in pixels of the image, and `frame` the frame of an animation that shows
    it. The thumbnail shows the first frame that is not empty, and has a border only if that is this frame.
    """
    try:
        decoded = decode_alone(read(path)[0], InputSpec(size=_SIDE_PIXELS, mean=0, std=1))
    except (OSError, ImageError):
        return None
    image = Image.fromarray(decoded.pixels)
    if (
        box is not None
        and decoded.frame == frame
        and (box[2] - box[0]) * (box[3] - box[1]) < _MAX_BORDERED_FACE_SHARE * decoded.width * decoded.height
    ):
        scale = _SIDE_PIXELS / max(decoded.width, decoded.height)
        start = [(_SIDE_PIXELS - side * scale) / 2 for side in (decoded.width, decoded.height)]
        ImageDraw.Draw(image).rectangle([start[n % 2] + edge * scale for n, edge in enumerate(box)], outline="#e8833a", width=3)
    png = BytesIO()
    image.save(png, "PNG")
    return png.getvalue()
