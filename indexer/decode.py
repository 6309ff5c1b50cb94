"""Bytes to pixels: any supported picture becomes RGB on white, fitted into a model's square. Pure functions, thread-safe."""

from __future__ import annotations

import warnings
from functools import cache
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from blake3 import blake3
from PIL import Image, ImageOps, UnidentifiedImageError

from indexer.domain import DecodedImage, InputSpec
from indexer.errors import Damaged, ImageError, Unsupported

if TYPE_CHECKING:
    from indexer.domain import Pixels

MAX_PIXELS = 128_000_000
"""The largest picture that is decoded: beyond any page scan, and about half a gigabyte as RGBA."""

FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""Pillow's decoders that are used. The others (among them ones that start other programs) stay shut."""

_PLUGINS = {"WEBP": "WebP"}
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def digest(data: bytes) -> bytes:
    """The BLAKE3 digest (32 bytes) by which a picture is known."""
    return bytes(blake3(data).digest())


def decode(data: bytes, spec: InputSpec) -> DecodedImage:
    """Decode a picture file's bytes and prepare it for a model.

    Of animations and multi-page files the first frame counts. Raises Unsupported for a format no decoder here knows, Damaged for
    bytes that are no whole picture of at most MAX_PIXELS.
    """
    if not data:
        raise Damaged("the file is empty")
    try:
        with Image.open(BytesIO(data), formats=_decoders()) as image:
            _refuse_bomb(image)
            name = image.format or "unknown"
            image.load()
            upright = ImageOps.exif_transpose(image)
            pixels = prepare(upright, spec)
            width, height = upright.size
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise _unidentified(data) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _bomb() from error
    except MemoryError as error:
        raise Damaged("decoding it needs more memory than there is") from error
    except Exception as error:  # decoders raise whatever they like on hostile bytes; none of it may end a run
        raise Damaged(f"it cannot be decoded: {_sentence(error)}") from error
    return DecodedImage(digest(data), pixels, width, height, name)


def decode_file(path: Path, spec: InputSpec) -> Pixels:
    """The pixels of one file, for training and image queries: as `decode`, and OSError where it cannot be read."""
    return decode(path.read_bytes(), spec).pixels


def prepare(image: Image.Image, spec: InputSpec) -> Pixels:
    """Compose on white, turn to RGB and fit into the model's square: uint8, (size, size, 3)."""
    rgb = _on_white(image)
    scale = spec.size / max(rgb.size)
    width, height = (max(1, round(side * scale)) for side in rgb.size)
    if (width, height) != rgb.size:
        rgb = rgb.resize((width, height), Image.Resampling.BICUBIC)
    square = np.full((spec.size, spec.size, 3), spec.background, dtype=np.uint8)
    top, left = (spec.size - height) // 2, (spec.size - width) // 2
    square[top : top + height, left : left + width] = np.asarray(rgb)
    return square


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I", "F"):
        image = _to_8_bit(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Pillow cuts 16-bit greys off at 255 when it converts them; scale them instead, floats by their own range."""
    values = np.asarray(image, dtype=np.float64)
    if image.mode == "F":
        finite = np.nan_to_num(values)
        low, high = float(finite.min()), float(finite.max())
        scaled = (finite - low) * (255 / (high - low)) if high > low else np.full_like(finite, 255.0)
    else:
        scaled = values / 257 if values.max(initial=0) > 255 or image.mode != "I" else values
    return Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))


def _refuse_bomb(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise _bomb(image.size)


def _bomb(size: tuple[int, int] | None = None) -> Damaged:
    shape = f"{size[0]} x {size[1]} pixels are" if size else "it is"
    return Damaged(f"{shape} more than the limit of {MAX_PIXELS // 1_000_000} million pixels")


def _unidentified(data: bytes) -> ImageError:
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS and "HEIF" not in _decoders():
        return Unsupported("HEIC pictures need the extra decoder: pip install 'moodex[heic]'")
    return Damaged("its bytes are not a picture in a supported format")


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


@cache
def _decoders() -> tuple[str, ...]:
    """Load the decoders in use, once; HEIF joins when its optional package is installed."""
    for format_name in FORMATS:
        import_module(f"PIL.{_PLUGINS.get(format_name, format_name.title())}ImagePlugin")
    # Pillow warns of odd but readable metadata; whether a picture is readable is decided by reading it.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return FORMATS
    register_heif_opener(thumbnails=False)
    return (*FORMATS, "HEIF")
