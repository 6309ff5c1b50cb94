"""The allowed outcomes of decoding any bytes: a valid image, or an error whose reason is safe to show."""

from __future__ import annotations

import re
import traceback

import numpy as np
from blake3 import blake3

from indexer.domain.errors import Damaged, ImageError, Unsupported
from indexer.domain.images import DecodedImage, InputSpec
from indexer.imaging.decode import MAX_FRAMES, MAX_PIXELS, decode, is_page

SPEC = InputSpec(size=64, mean=127.0, std=128.0)
PAGE_PIXELS = 256

_MAX_REASON_CHARACTERS = 300
_OBJECT = re.compile(r" at 0x|<[\w.]+ object|<class ")
_PATH = re.compile(r"(?<![\w.])/[\w.-]+/|[A-Za-z]:\\")


def decode_and_check(data: bytes, page: int = PAGE_PIXELS) -> tuple[str, str]:
    """Decode bytes; return the kind of the outcome and what is wrong with it, "" if it is allowed.

    The kind is "decoded", "damaged", "unsupported", or "escaped" for an exception that is not an ImageError.
    """
    try:
        image = decode(data, SPEC, page)
    except ImageError as error:
        return error.kind, _reason_violation(error)
    except BaseException:
        return "escaped", traceback.format_exc()
    return "decoded", _image_violation(image, data, page)


def _reason_violation(error: ImageError) -> str:
    reason = str(error)
    if not isinstance(error, Damaged | Unsupported):
        return f"{type(error).__name__} is not an error about bytes: {reason}"
    if not reason or len(reason) > _MAX_REASON_CHARACTERS or reason != reason.strip() or not reason.isprintable():
        return f"not a clean sentence: {reason!r}"
    if _OBJECT.search(reason) or _PATH.search(reason):
        return f"names an internal object or path: {reason!r}"
    return ""


def _image_violation(image: DecodedImage, data: bytes, page: int) -> str:
    if len(image.frames) > MAX_FRAMES:
        return f"{len(image.frames)} frames"
    for frame in image.frames:
        height, width, channels = frame.pixels.shape
        is_valid = is_page(height, width, page) if page else height == width == SPEC.size
        if not is_valid or frame.pixels.shape != image.pixels.shape or channels != 3 or frame.pixels.dtype != np.uint8:
            return f"pixels are {frame.pixels.dtype} of {frame.pixels.shape}"
    if image.width < 1 or image.height < 1 or image.width * image.height > MAX_PIXELS or image.digest != blake3(data).digest():
        return f"size or digest is wrong: {image}"
    return ""
