"""Thumbnails of images, for contact sheets and for the web."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from indexer.domain.errors import ImageError
from indexer.domain.files import FileStamp
from indexer.domain.images import InputSpec
from indexer.imaging.decode_alone import decode_alone
from indexer.system.safe_read import read

if TYPE_CHECKING:
    from indexer.imaging.decoder_pool import DecoderPool

_SIDE_PIXELS = 192
_WEBP_QUALITY, _WEBP_EFFORT = 82, 2
_MAX_BORDERED_FACE_SHARE = 0.3
"""A face gets a border if it covers less than this share of the image."""


def thumbnail(
    path: bytes,
    box: tuple[int, int, int, int] | None,
    frame: int | None = None,
    read: Callable[[bytes], tuple[bytes, FileStamp]] = read,
) -> bytes | None:
    """Return a thumbnail of 192 x 192 pixels as PNG, with a border around a small face; None for an unreadable file.

    `box` is the face's left, top, right and bottom edge in pixels of the image, and `frame` the frame of an animation that shows
    it. The thumbnail shows the first frame that is not empty, and has a border only if that is this frame. `read` reads the file
    as `ImageSource.read` does.
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


def isolated_thumbnail(data: bytes, side: int, decoders: DecoderPool) -> tuple[bytes, bytes]:
    """Return a thumbnail of an image file's bytes, as WebP, and the digest of the bytes. Child processes decode it.

    Its longer side has at most `side` pixels, and it has the shape of the image. Of an animation, it shows the first frame that
    is not empty. Raises ImageError.
    """
    decoded = decoders.decode(data, InputSpec(size=side, mean=0, std=1))
    longer = max(decoded.width, decoded.height)
    width, height = (max(1, round(length * side / longer)) for length in (decoded.width, decoded.height))
    left, top = (side - width) // 2, (side - height) // 2
    picture = Image.fromarray(decoded.pixels[top : top + height, left : left + width])
    if longer < side:
        picture = picture.resize((decoded.width, decoded.height), Image.Resampling.LANCZOS)
    encoded = BytesIO()
    picture.save(encoded, "WEBP", quality=_WEBP_QUALITY, method=_WEBP_EFFORT)
    return encoded.getvalue(), decoded.digest
