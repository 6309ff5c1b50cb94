"""The last steps of an image: trim it, scale it, store it.

The column `finish` of `sources.csv` has one of these:

    fit                 trim to the drawing with a margin, or to the box of the image, and reduce to at most 512 pixels
    enlarge N           enlarge each pixel to N x N
    trim, enlarge N     trim to the drawing without a margin, then enlarge
    whole               keep the canvas, or the box of the image, and reduce to at most 1024 pixels
    ..., quick          after one of the above: store with a faster method, and images of at most 300 pixels without loss
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

_LONGEST_SIDE = 512
_LONGEST_SIDE_OF_WHOLE = 1024
_QUALITY = 92

_QUICK = ", quick"
_QUICK_METHOD = 3
_LONGEST_SIDE_WITHOUT_LOSS = 300

_MARGIN = 0.02
"""Margin of a trimmed image, as a share of the longer side of the drawing's canvas."""

_FAINTEST = 8
"""Alpha, of 255, up to which a pixel counts as empty."""

Box = tuple[int, int, int, int]


def finish_image(image: Image.Image, how: str, box: Box | None) -> Image.Image:
    """Trim and scale an RGBA image. Raises ValueError for a word that is not in the list, and for an empty image."""
    match how.removesuffix(_QUICK).replace(",", "").split():
        case ["fit"]:
            image = image.crop(box or _drawing_with_margin(image))
            image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.LANCZOS)
        case ["enlarge", times]:
            image = _enlarge(image, int(times))
        case ["trim", "enlarge", times]:
            image = _enlarge(image.crop(image.getbbox()), int(times))
        case ["whole"]:
            image = _reduce(image.crop(box) if box else image)
        case _:
            raise ValueError(f"The finish {how!r} is not fit, whole, enlarge N or trim, enlarge N.")
    return image


def store_image(image: Image.Image, path: Path, how: str) -> None:
    """Store an image as WebP, with its alpha unchanged and its colors lossy; a small one without loss if the finish is quick."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if how.endswith(_QUICK):
        lossless = max(image.size) <= _LONGEST_SIDE_WITHOUT_LOSS
        image.save(path, "WEBP", quality=_QUALITY, method=_QUICK_METHOD, lossless=lossless)
    else:
        image.save(path, "WEBP", quality=_QUALITY)


def _drawing_with_margin(image: Image.Image) -> Box:
    box = image.getchannel("A").point(lambda alpha: 255 if alpha > _FAINTEST else 0).getbbox()
    if box is None:
        raise ValueError("The image is empty.")
    margin = int(_MARGIN * max(image.size))
    left, top, right, bottom = box
    return max(0, left - margin), max(0, top - margin), min(image.width, right + margin), min(image.height, bottom + margin)


def _reduce(image: Image.Image) -> Image.Image:
    longest = max(image.size)
    if longest <= _LONGEST_SIDE_OF_WHOLE:
        return image
    width, height = (max(1, round(side * _LONGEST_SIDE_OF_WHOLE / longest)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _enlarge(image: Image.Image, times: int) -> Image.Image:
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
