"""Bytes to pixels: any supported picture becomes RGB on white, fitted into a model's square. Pure functions, thread-safe."""

from __future__ import annotations

import warnings
from functools import cache
from importlib import import_module
from io import BytesIO
from math import ceil
from pathlib import Path
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
"""The largest picture that is decoded: beyond any page scan, and about half a gigabyte as RGBA."""

MAX_SIDE = 262_144
"""The longest side: the tables that Pillow keeps of lines alone take gigabytes for pictures of millions of them."""

_BAND = 1 << 20
"""Pixels that are converted at a time."""

FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""Pillow's decoders that are used. The others (among them ones that start other programs) stay shut."""

_SPARE = 8.0
"""How many times the size it is needed in a JPEG keeps when its decoder averages it over whole blocks. At three times, one answer
in fifty would change; at eight, hardly any does (bench/results/fidelity.md).
"""

_PLUGINS = {"WEBP": "WebP"}
_SIGNATURES = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF"}
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def decode(data: bytes, spec: InputSpec, page: int = 0) -> DecodedImage:
    """Decode a picture file's bytes and prepare it for a model, or, for a `page` of so many pixels a side at most, resize it.

    Of animations and multi-page files the first frame counts. Raises Unsupported for a format no decoder here knows, Damaged for
    bytes that are no whole picture of at most MAX_PIXELS and MAX_SIDE.
    """
    if not data:
        raise Damaged("the file is empty")
    try:
        with Image.open(BytesIO(data), formats=_decoders_for(data)) as image:
            _refuse_bomb(image)
            name = image.format or "unknown"
            longer, shorter = max(image.size), min(image.size)
            _shrink_on_load(image, _SPARE * max(page, spec.size))
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            width, height = (longer, shorter) if image.width >= image.height else (shorter, longer)
            pixels = np.asarray(_on_white(_plain(image), min(page, longer))) if page else prepare(image, spec)
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
    """Turn to RGB on white and fit into the model's square: uint8, (size, size, 3)."""
    image = _on_white(_plain(image), spec.size)
    square = np.full((spec.size, spec.size, 3), spec.background, dtype=np.uint8)
    top, left = (spec.size - image.height) // 2, (spec.size - image.width) // 2
    square[top : top + image.height, left : left + image.width] = np.asarray(image)
    return square


def _shrink_on_load(image: Image.Image, longest: float) -> None:
    """Let a JPEG's decoder leave out what resizing would: it can halve a picture up to three times, at a fraction of the cost."""
    scale = longest / max(image.size)
    if scale < 1:
        image.draft(None, (ceil(image.width * scale), ceil(image.height * scale)))


def _on_white(image: Image.Image, longest: int) -> Image.Image:
    """An RGB or RGBA picture resized, its longest side to so many pixels, as RGB."""
    scale = longest / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    # Resized before it is laid on white: the result is the same, and large pictures need half the memory.
    image = resized(image, (width, height))
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")
    return image


def _plain(image: Image.Image) -> Image.Image:
    """The picture as RGB, or as RGBA where some of it may be transparent."""
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I", "F"):
        image = Image.fromarray(_to_8_bit(np.asarray(image)))
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)  # which copies what is in that mode already


def _to_8_bit(values: npt.NDArray[np.generic]) -> Pixels:
    """Pillow cuts deep greys off at 255 when it converts them; scale 16-bit ones instead, and floats by their own range.

    Some rows at a time: at the limit of pixels a copy in another type is half a gigabyte.
    """
    grey = np.empty(values.shape, dtype=np.uint8)
    rows = max(1, _BAND // max(1, values.shape[1]))
    bands = [slice(start, start + rows) for start in range(0, len(values), rows)]
    if np.issubdtype(values.dtype, np.floating):
        low = min(float(_finite(values[band]).min()) for band in bands)
        high = max(float(_finite(values[band]).max()) for band in bands)
        for band in bands:
            grey[band] = np.rint((_finite(values[band]) - low) * (255 / (high - low))) if high > low else 255
        return grey
    is_deep = values.dtype == np.uint16 or any(int(values[band].max(initial=0)) > 255 for band in bands)
    for band in bands:
        whole = np.clip(values[band].astype(np.int32), 0, 65_535)
        grey[band] = (whole + 128) // 257 if is_deep else whole
    return grey


def _finite(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    return np.nan_to_num(values.astype(np.float32))


def _refuse_bomb(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise _bomb(image.size)
    if max(image.size) > MAX_SIDE:
        raise Damaged(f"a side of {max(image.size)} pixels is more than the limit of {MAX_SIDE}")


def _bomb(size: tuple[int, int] | None = None) -> Damaged:
    shape = f"{size[0]} x {size[1]} pixels are" if size else "it is"
    return Damaged(f"{shape} more than the limit of {MAX_PIXELS // 1_000_000} million pixels")


def _unidentified(data: bytes) -> ImageError:
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS and "HEIF" not in _decoders():
        return Unsupported("HEIC pictures need the extra decoder: pip install 'moodex[heic]'")
    return Damaged("its bytes are not a picture in a supported format")


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _decoders_for(data: bytes) -> tuple[str, ...]:
    """The decoders that may know a file. To load all of them takes longer than to decode a picture."""
    known = next((name for start, name in _SIGNATURES.items() if data.startswith(start)), None)
    return (_load(known),) if known else _decoders()


@cache
def _decoders() -> tuple[str, ...]:
    """All decoders in use, loaded; HEIF joins when its optional package is installed."""
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
    # Pillow warns of odd but readable metadata; whether a picture is readable is decided by reading it.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    return name
