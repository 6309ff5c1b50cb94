"""Decoding of images to RGB, fitted into the square input of a model. Pure, thread-safe functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from indexer.domain.errors import Damaged, ImageError
from indexer.domain.images import DecodedImage, DecodeTarget, Frame
from indexer.imaging import cut_off
from indexer.imaging.background import background
from indexer.imaging.foreign_formats import recognize
from indexer.imaging.frame_times import spread_frames
from indexer.imaging.limits import MAX_PIXELS, bomb, refuse_bomb
from indexer.imaging.open_image import open_image, unidentified
from indexer.imaging.resize import resized
from indexer.system.digest import digest

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.images import InputSpec
    from indexer.domain.types import Pixels

LONGEST_PAGE = 16
"""Limit of the longer side of a page for face detection, as a multiple of `max_side`."""

_LONG_ASPECT = 4
"""Longer side of an image, in shorter sides, above which its page for face detection keeps more pixels."""

_UINT16_MAX = 65_535

_BAND_PIXELS = 1 << 20
"""Pixels that are converted at a time, to limit memory."""

MAX_FRAMES = 5
"""Number of frames of an animation that are analyzed at most, spread over the time that it takes."""

_MAX_DECODED_FRAMES = 1000
"""Number of frames of an animation that are decoded at most; the ones that are analyzed are among them."""

_ANIMATED_FORMATS = ("GIF", "PNG", "WEBP", "AVIF", "LOTTIE", "VIDEO")
"""Formats whose frames are an animation. The images of a TIFF or HEIF file are pages."""

_BLANK_LEVELS = 8
"""An image in which no channel varies by more than this many levels, 0-255, shows nothing."""

_NO_ROW: dict[str, int | tuple[int, ...]] = {"1": 1, "L": 255, "I;16": _UINT16_MAX, "RGB": (255, 255, 255)}
"""The color of missing rows, by the mode of an image; 0 in modes with transparency or a palette."""

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"

_DRAFT_SIZE_FACTOR = 8.0
"""A JPEG's decoder may shrink the image to this many times the target size, by averaging whole blocks. At a factor of three, one
result in fifty would change; at eight, hardly any does (bench/results/fidelity.md).
"""

_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)
"""The EXIF tag for the orientation, and its values for images that are turned by a quarter."""


def decode(data: bytes, spec: InputSpec, max_side: int = 0) -> DecodedImage:
    """Decode the bytes of an image file, and prepare it for a model.

    Of an animation, up to `MAX_FRAMES` frames are decoded; see `DecodedImage.frames`. A JPEG or PNG that lacks its end is decoded
    as far as it goes.

    With `max_side`, the image is not fitted into the model's square, but reduced to a page for face detection: see `page_side`.
    Raises Unsupported for a format without a decoder, and Damaged for an incomplete image or one that exceeds
    MAX_PIXELS or MAX_SIDE.
    """
    (image,) = decode_for(data, [DecodeTarget(spec, max_side)])
    return image


def decode_for(data: bytes, targets: Sequence[DecodeTarget]) -> tuple[DecodedImage, ...]:
    """Decode the bytes of an image file once, and prepare it for several targets, each as `decode` does for that target alone.

    A JPEG that its decoder shrinks differently for the targets is decoded for each. Raises what `decode` raises.
    """
    if not data:
        raise Damaged("the file is empty; copy or download it again")
    try:
        try:
            return _decode(data, targets)
        except OSError as error:
            if not data.startswith(_JPEG_START) or isinstance(error, UnidentifiedImageError):
                raise
            # With an end, the decoder returns what there is, and fills the rest, as browsers do.
            images = _decode(data + _JPEG_END, targets)
            if _is_blank(images[0].pixels):
                raise
            return tuple(replace(image, digest=digest(data), incomplete=True) for image in images)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise unidentified(data) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise bomb() from error
    except MemoryError as error:
        raise Damaged("decoding it needs more memory than is available") from error
    except Exception as error:  # on hostile bytes, decoders raise errors of any type; none of them may end a run
        raise Damaged(_reason(data, error)) from error


def _decode(data: bytes, targets: Sequence[DecodeTarget]) -> tuple[DecodedImage, ...]:
    """Decode like `decode_for`, with the errors of Pillow."""
    with open_image(data) as image:
        refuse_bomb(image.size)
        name = image.format or "unknown"
        longer, shorter = max(image.size), min(image.size)
        pages = [page_side(longer, shorter, target.max_side) for target in targets]
        preparations = [partial(_prepared, target=target, longest=page) for target, page in zip(targets, pages, strict=True)]
        numbers = _frame_numbers(image, data)
        if numbers:
            frames, complete = _decode_frames(image, numbers, preparations)
            width, height = _transposed_size(image)
            return tuple(
                DecodedImage(digest(data), first.pixels, width, height, name, first.number, tuple(later), not complete)
                for first, *later in frames
            )
        longest = [_DRAFT_SIZE_FACTOR * max(page, target.spec.size) for target, page in zip(targets, pages, strict=True)]
        if len({_draft_scale(image, each) for each in longest}) > 1:
            return tuple(one for target in targets for one in _decode(data, [target]))
        _shrink_on_load(image, max(longest))
        complete = _load(image, data)
        ImageOps.exif_transpose(image, in_place=True)
        width, height = (longer, shorter) if image.width >= image.height else (shorter, longer)
        prepared = [prepare_target(image) for prepare_target in preparations]
        if not complete and _is_blank(prepared[0]):
            raise Damaged(cut_off.REASON)
        return tuple(DecodedImage(digest(data), pixels, width, height, name, incomplete=not complete) for pixels in prepared)


def _prepared(image: Image.Image, target: DecodeTarget, longest: int) -> Pixels:
    """Return the pixels of a frame for a target; `longest` is the longer side of a page for face detection."""
    return np.asarray(_without_transparency(_to_rgb(image), longest)) if target.max_side else prepare(image, target.spec)


def _load(image: Image.Image, data: bytes) -> bool:
    """Load the pixels of a still image; return whether all are there.

    Of a PNG that lacks its end, the missing rows are white, or transparent, as browsers show them.
    """
    if image.format != "PNG" or not isinstance(image, ImageFile) or not cut_off.is_cut_off(data):
        image.load()
        return True
    image.im = Image.new(image.mode, image.size, _NO_ROW.get(image.mode, 0)).im
    try:
        image.load()
    except OSError:
        image.tile = []  # nothing is left to load
        return False
    return True


def _frame_numbers(image: Image.Image, data: bytes) -> list[int]:
    """Return the numbers, from 0, of the frames of an animation that are decoded; none for a still image.

    The decoder must decode all frames before the last one of them, so large animations are decoded in part.
    """
    if image.format not in _ANIMATED_FORMATS or not getattr(image, "is_animated", False):
        return []
    first = 1 if image.info.get("default_image") else 0  # an APNG may have a still image for programs without animations
    affordable = MAX_PIXELS // (image.width * image.height)
    last = min(int(getattr(image, "n_frames", 1)), first + min(affordable, _MAX_DECODED_FRAMES)) - 1
    if last <= first:
        return []
    return spread_frames(data, image.format, first, last, MAX_FRAMES)


def _decode_frames(
    image: Image.Image, numbers: Sequence[int], preparations: Sequence[Callable[[Image.Image], Pixels]]
) -> tuple[list[list[Frame]], bool]:
    """Decode frames of an animation, and prepare them in several ways; return whether all are readable, too.

    Of each preparation, the frames that differ and show something are returned, or else the first.
    """
    kept = [_KeptFrames() for _ in preparations]
    complete = True
    for number in numbers:
        try:
            image.seek(number)
            frame = ImageOps.exif_transpose(image)
            prepared = [prepare_target(frame) for prepare_target in preparations]
        except Exception:
            if number == numbers[0]:
                raise
            complete = False
            break
        for frames, pixels in zip(kept, prepared, strict=True):
            frames.add(Frame(number + 1, pixels))
    return [frames.result() for frames in kept], complete


@dataclass(slots=True)
class _KeptFrames:
    """The frames of an animation that differ and show something, and the first one that shows nothing."""

    frames: list[Frame] = field(default_factory=list)
    blank: Frame | None = None

    def add(self, frame: Frame) -> None:
        """Keep a frame, unless it shows nothing new."""
        if _is_blank(frame.pixels):
            self.blank = self.blank or frame
        elif not any(np.array_equal(frame.pixels, other.pixels) for other in self.frames):
            self.frames.append(frame)

    def result(self) -> list[Frame]:
        """Return the frames that show something, or else the first one."""
        return self.frames if self.frames or self.blank is None else [self.blank]


def _transposed_size(image: Image.Image) -> tuple[int, int]:
    """Return the size of an image after its EXIF rotation."""
    is_turned = image.getexif().get(_ORIENTATION, 1) in _TURNED
    return (image.height, image.width) if is_turned else (image.width, image.height)


def _is_blank(pixels: Pixels) -> bool:
    """Return whether an image, uint8, (H, W, 3), has one color."""
    channels = pixels.reshape(-1, 3)
    return bool((channels.max(axis=0).astype(int) - channels.min(axis=0) <= _BLANK_LEVELS).all())


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
    """Convert to RGB without transparency and fit into the model's square: uint8, (size, size, 3)."""
    image = _without_transparency(_to_rgb(image), spec.size)
    square = np.full((spec.size, spec.size, 3), spec.background, dtype=np.uint8)
    top, left = (spec.size - image.height) // 2, (spec.size - image.width) // 2
    square[top : top + image.height, left : left + image.width] = np.asarray(image)
    return square


def _shrink_on_load(image: Image.Image, longest: float) -> None:
    """Let a JPEG's decoder halve the image up to three times, at a fraction of the cost of resizing."""
    scale = longest / max(image.size)
    if scale < 1:
        image.draft(None, (ceil(image.width * scale), ceil(image.height * scale)))


def _draft_scale(image: Image.Image, longest: float) -> int:
    """Return by how much `_shrink_on_load` would shrink an image: 1, 2, 4 or 8, and 1 for other formats than JPEG."""
    scale = longest / max(image.size)
    if scale >= 1 or not isinstance(image, JpegImageFile):
        return 1
    # As Pillow chooses it: the largest power of two that leaves both sides as long as asked for.
    room = min(side // ceil(side * scale) for side in image.size)
    return next(power for power in (8, 4, 2, 1) if room >= power)


def _without_transparency(image: Image.Image, longest: int) -> Image.Image:
    """Resize an RGB or RGBA image to `longest` pixels on its longer side, and return it as RGB on a background that shows it."""
    scale = longest / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    # Resize first, then compose: the result is the same, and large images need half the memory.
    image = resized(image, (width, height))
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, background(image)), image).convert("RGB")
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return the image as RGB, or as RGBA if parts may be transparent."""
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I", "F"):
        image = Image.fromarray(_to_8_bit(np.asarray(image)))
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)  # convert would copy an image of the same mode


def _to_8_bit(values: npt.NDArray[np.generic]) -> Pixels:
    """Scale gray values to 8 bits: 16-bit values from the range of their type, floats and larger integers from their own range.

    Pillow would clip them at 255. Bands of rows are converted one after the other, because at MAX_PIXELS a complete copy in a
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
    lowest = min(int(values[band].min()) for band in bands)
    highest = max(int(values[band].max()) for band in bands)
    if lowest < 0 or highest > _UINT16_MAX:
        for band in bands:
            scaled = (values[band].astype(np.float64) - lowest) * (255 / max(highest - lowest, 1))
            gray[band] = np.rint(scaled) if highest > lowest else 255
        return gray
    is_deep = values.dtype == np.uint16 or highest > 255
    for band in bands:
        whole = values[band].astype(np.int32)
        gray[band] = (whole + 128) // 257 if is_deep else whole
    return gray


def _finite(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    return np.nan_to_num(values.astype(np.float32))


_MISSING_DATA = ("truncated", "NEED_MORE_INPUT")
"""What the errors of Pillow and of libjxl contain if a file lacks its end."""


def _reason(data: bytes, error: Exception) -> str:
    """Return why a file cannot be decoded. Some formats state no end, but their decoders notice that data is missing."""
    if cut_off.is_cut_off(data) or any(word in str(error) for word in _MISSING_DATA):
        return cut_off.REASON
    found = recognize(data)
    if found and found.reader:  # a format that Pillow does not read
        return f"it is {found.name} and cannot be decoded: {_sentence(error)}; {found.advice}"
    return f"it cannot be decoded: {_sentence(error)}"


def _sentence(error: Exception) -> str:
    text = error.args[0] if error.args and isinstance(error.args[0], str) else error  # further arguments are objects
    return " ".join(str(text).split())[:200].strip() or type(error).__name__
