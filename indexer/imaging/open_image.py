"""Opening of image files: the choice of the decoder that reads a file's bytes."""

from __future__ import annotations

import warnings
from functools import cache
from importlib import import_module
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from indexer.domain.errors import Damaged, ImageError, Unsupported
from indexer.imaging import cut_off, foreign_formats, further_formats
from indexer.system.optional import install_command

FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "JPEG2000", "ICO", "CUR")
"""The decoders of Pillow that moodex uses. The others are never loaded; some of them start other programs."""

_PLUGINS = {"WEBP": "WebP", "DIB": "Bmp", "JPEG2000": "Jpeg2K"}
_SIGNATURES = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF"}


def open_image(data: bytes) -> Image.Image:
    """Open the bytes of an image file. Most decoders read only the size now, and the pixels later.

    Raises UnidentifiedImageError if no decoder knows the bytes, Unsupported if the decoder that does is not installed, and
    whatever a decoder raises on damaged bytes.
    """
    try:
        return Image.open(BytesIO(data), formats=_decoders_for(data))
    except UnidentifiedImageError:
        image = further_formats.open_image(data)
        if image is None:
            raise
        return image


def unidentified(data: bytes) -> ImageError:
    """Return the error for bytes that no decoder knows."""
    if data[4:8] == b"ftyp" and data[8:12] in foreign_formats.HEIF_BRANDS and "HEIF" not in _decoders():
        return Unsupported(f"HEIC images need an extra decoder: {install_command('pillow-heif', 'heic')}")
    if cut_off.is_cut_off(data):
        return Damaged(cut_off.REASON)
    return Damaged(foreign_formats.describe(data) or "its bytes are not an image in a supported format")


def _decoders_for(data: bytes) -> tuple[str, ...]:
    """Return the decoders that may know a file. Loading all of them takes longer than decoding an image."""
    known = next((name for start, name in _SIGNATURES.items() if data.startswith(start)), None)
    return (_load(known),) if known else _decoders()


@cache
def _decoders() -> tuple[str, ...]:
    """Load all decoders in use, and HEIF if its optional package is installed."""
    loaded = tuple(_load(name) for name in FORMATS)
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return loaded
    register_heif_opener(thumbnails=False)
    return (*loaded, "HEIF")


@cache
def _load(name: str) -> str:
    import_module(f"PIL.{_PLUGINS.get(name, name.title())}ImagePlugin")
    # Pillow warns about odd but readable metadata. Only decoding shows whether an image is readable.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    return name
