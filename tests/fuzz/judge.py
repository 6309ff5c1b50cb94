"""What may come of any bytes that are decoded: a picture as promised, or a reason that can be shown to anybody."""

from __future__ import annotations

import re
import traceback

import numpy as np
from blake3 import blake3

from indexer.domain.errors import Damaged, ImageError, Unsupported
from indexer.domain.images import DecodedImage, InputSpec
from indexer.imaging.decode import MAX_PIXELS, decode

SPEC = InputSpec(size=64, mean=127.0, std=128.0)
PAGE = 256

_LONGEST = 300
_OBJECT = re.compile(r" at 0x|<[\w.]+ object|<class ")
_PATH = re.compile(r"(?<![\w.])/[\w.-]+/|[A-Za-z]:\\")


def judged(data: bytes, page: int = PAGE) -> tuple[str, str]:
    """What came of the bytes ("decoded", "damaged" or "unsupported"), and what is wrong with that; "" where nothing is."""
    try:
        image = decode(data, SPEC, page)
    except ImageError as error:
        return error.kind, _wrong_reason(error)
    except BaseException:
        return "escaped", traceback.format_exc()
    return "decoded", _wrong_picture(image, data, page)


def _wrong_reason(error: ImageError) -> str:
    reason = str(error)
    if not isinstance(error, Damaged | Unsupported):
        return f"{type(error).__name__} is not for bytes: {reason}"
    if not reason or len(reason) > _LONGEST or reason != reason.strip() or not reason.isprintable():
        return f"not a clean sentence: {reason!r}"
    if _OBJECT.search(reason) or _PATH.search(reason):
        return f"names what nobody knows: {reason!r}"
    return ""


def _wrong_picture(image: DecodedImage, data: bytes, page: int) -> str:
    sides = range(1, page + 1) if page else [SPEC.size]
    height, width, channels = image.pixels.shape
    if height not in sides or width not in sides or channels != 3 or image.pixels.dtype != np.uint8:
        return f"pixels are {image.pixels.dtype} of {image.pixels.shape}"
    if image.width < 1 or image.height < 1 or image.width * image.height > MAX_PIXELS or image.digest != blake3(data).digest():
        return f"facts are wrong: {image}"
    return ""
