"""Decoding of images to RGB on white, fitted into the square input of a model. Pure, thread-safe functions."""

from __future__ import annotations

import warnings
from functools import cache
from importlib import import_module
from io import BytesIO
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from indexer.domain.errors import Damaged, ImageError, Unsupported
from indexer.domain.images import DecodedImage, InputSpec
from indexer.imaging.resize import resized
from indexer.system.digest import digest

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Pixels

MAX_PIXELS = 128_000_000
"""Limit of pixels: larger than any page scan, and about half a gigabyte as RGBA."""

MAX_SIDE = 262_144
"""Limit of the longest side: for millions of lines, Pillow's line tables alone take gigabytes."""

LONGEST_PAGE = 16
"""Limit of the longer side of a page for face detection, as a multiple of `max_side`."""

_LONG_ASPECT = 4
"""Longer side of an image, in shorter sides, above which its page for face detection keeps more pixels."""

_BAND_PIXELS = 1 << 20
"""Pixels that are converted at a time, to limit memory."""

FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""The decoders of Pillow that moodex uses. The others are never loaded; some of them start other programs."""

_DRAFT_SIZE_FACTOR = 8.0
"""A JPEG's decoder may shrink the image to this many times the target size, by averaging whole blocks. At a factor of three, one
result in fifty would change; at eight, hardly any does (bench/results/fidelity.md).
"""

_PLUGINS = {"WEBP": "WebP"}
_SIGNATURES = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF"}
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def decode(data: bytes, spec: InputSpec, max_side: int = 0) -> DecodedImage:
    """Decode the bytes of an image file, and prepare the first frame for a model.

    With `max_side`, the image is not fitted into the model's square, but reduced to a page for face detection: see `page_side`.
    Raises Unsupported for a format without a decoder, and Damaged for an incomplete image or one that exceeds
    MAX_PIXELS or MAX_SIDE.
    """
    if not data:
        raise Damaged("the file is empty")
    try:
        with Image.open(BytesIO(data), formats=_decoders_for(data)) as image:
            _refuse_bomb(image)
            name = image.format or "unknown"
            longer, shorter = max(image.size), min(image.size)
            longest = page_side(longer, shorter, max_side)
            _shrink_on_load(image, _DRAFT_SIZE_FACTOR * max(longest, spec.size))
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            width, height = (longer, shorter) if image.width >= image.height else (shorter, longer)
            pixels = np.asarray(_on_white(_to_rgb(image), longest)) if max_side else prepare(image, spec)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise _unidentified(data) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _bomb() from error
    except MemoryError as error:
        raise Damaged("decoding it needs more memory than is available") from error
    except Exception as error:  # on hostile bytes, decoders raise errors of any type; none of them may end a run
        raise Damaged(f"it cannot be decoded: {_sentence(error)}") from error
    return DecodedImage(digest(data), pixels, width, height, name)


def page_side(longer: int, shorter: int, max_side: int) -> int:
    """Return the longer side, in pixels, of the page to which an image with these sides is reduced for face detection.

    It is at most `max_side`. Of an image more than four times as long as wide, the shorter side is at most half of `max_side`
    instead, so that its faces stay large enough, and the longer side at most `LONGEST_PAGE` times `max_side`.
    """
    if longer <= _LONG_ASPECT * shorter:
        return min(longer, max_side)
    return round(longer * min(1.0, max_side / 2 / shorter, LONGEST_PAGE * max_side / longer))


def is_page(height: int, width: int, max_side: int) -> bool:
    """Return whether a page can have these sides; see `page_side`."""
    longer, shorter = max(height, width), min(height, width)
    limit = max_side if longer <= max_side else max_side / 2 + 0.5  # the shorter side of a long page is rounded
    return 0 < shorter <= limit and longer <= LONGEST_PAGE * max_side


def prepare(image: Image.Image, spec: InputSpec) -> Pixels:
    """Convert to RGB on white and fit into the model's square: uint8, (size, size, 3)."""
    image = _on_white(_to_rgb(image), spec.size)
    square = np.full((spec.size, spec.size, 3), spec.background, dtype=np.uint8)
    top, left = (spec.size - image.height) // 2, (spec.size - image.width) // 2
    square[top : top + image.height, left : left + image.width] = np.asarray(image)
    return square


def _shrink_on_load(image: Image.Image, longest: float) -> None:
    """Let a JPEG's decoder halve the image up to three times, at a fraction of the cost of resizing."""
    scale = longest / max(image.size)
    if scale < 1:
        image.draft(None, (ceil(image.width * scale), ceil(image.height * scale)))


def _on_white(image: Image.Image, longest: int) -> Image.Image:
    """Resize an RGB or RGBA image to `longest` pixels on its longer side, and return it as RGB on white."""
    scale = longest / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    # Resize first, then compose on white: the result is the same, and large images need half the memory.
    image = resized(image, (width, height))
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return the image as RGB, or as RGBA if parts may be transparent."""
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I", "F"):
        image = Image.fromarray(_to_8_bit(np.asarray(image)))
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)  # convert would copy an image of the same mode


def _to_8_bit(values: npt.NDArray[np.generic]) -> Pixels:
    """Scale gray values to 8 bits: 16-bit values from the range of their type, floats from their own range.

    Pillow would clip both at 255. Bands of rows are converted one after the other, because at MAX_PIXELS a complete copy in a
    wider type takes half a gigabyte.
    """
    gray = np.empty(values.shape, dtype=np.uint8)
    rows = max(1, _BAND_PIXELS // max(1, values.shape[1]))
    bands = [slice(start, start + rows) for start in range(0, len(values), rows)]
    if np.issubdtype(values.dtype, np.floating):
        low = min(float(_finite(values[band]).min()) for band in bands)
        high = max(float(_finite(values[band]).max()) for band in bands)
        for band in bands:
            gray[band] = np.rint((_finite(values[band]) - low) * (255 / (high - low))) if high > low else 255
        return gray
    is_deep = values.dtype == np.uint16 or any(int(values[band].max(initial=0)) > 255 for band in bands)
    for band in bands:
        whole = np.clip(values[band].astype(np.int32), 0, 65_535)
        gray[band] = (whole + 128) // 257 if is_deep else whole
    return gray


def _finite(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    return np.nan_to_num(values.astype(np.float32))


def _refuse_bomb(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise _bomb(image.size)
    if max(image.size) > MAX_SIDE:
        raise Damaged(f"a side of {max(image.size)} pixels exceeds the limit of {MAX_SIDE}")


def _bomb(size: tuple[int, int] | None = None) -> Damaged:
    subject = f"its size of {size[0]} x {size[1]} pixels" if size else "its size"
    return Damaged(f"{subject} exceeds the limit of {MAX_PIXELS // 1_000_000} million pixels")


def _unidentified(data: bytes) -> ImageError:
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS and "HEIF" not in _decoders():
        return Unsupported("HEIC images need an extra decoder: pip install 'moodex[heic]'")
    return Damaged("its bytes are not an image in a supported format")


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


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
