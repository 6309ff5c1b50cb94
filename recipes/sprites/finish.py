"""The last steps of an image: trim it, scale it, store it.

The column `finish` of `sources.csv` has one of these:

    fit                 trim to the drawing with a margin, or to the box of the image, and reduce to at most 512 pixels
    enlarge N           enlarge each pixel to N x N
    trim, enlarge N     trim to the drawing without a margin, then enlarge
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

_LONGEST_SIDE = 512
_QUALITY = 92

_MARGIN = 0.02
"""Margin of a trimmed image, as a share of the longer side of the drawing's canvas."""

_FAINTEST = 8
"""Alpha, of 255, up to which a pixel counts as empty."""

Box = tuple[int, int, int, int]


def finish_image(image: Image.Image, how: str, box: Box | None) -> Image.Image:
    """Trim and scale an RGBA image. Raises ValueError for a word that is not in the list, and for an empty image."""
    match how.replace(",", "").split():
        case ["fit"]:
            image = image.crop(box or _drawing_with_margin(image))
            image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.LANCZOS)
        case ["enlarge", times]:
            image = _enlarge(image, int(times))
        case ["trim", "enlarge", times]:
            image = _enlarge(image.crop(image.getbbox()), int(times))
        case _:
            raise ValueError(f"The finish {how!r} is not fit, enlarge N or trim, enlarge N.")
    return image


def store_image(image: Image.Image, path: Path) -> None:
    """Store an image as WebP, with its alpha unchanged and its colors lossy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "WEBP", quality=_QUALITY)


def _drawing_with_margin(image: Image.Image) -> Box:
    box = image.getchannel("A").point(lambda alpha: 255 if alpha > _FAINTEST else 0).getbbox()
    if box is None:
        raise ValueError("The image is empty.")
    margin = int(_MARGIN * max(image.size))
    left, top, right, bottom = box
    return max(0, left - margin), max(0, top - margin), min(image.width, right + margin), min(image.height, bottom + margin)


def _enlarge(image: Image.Image, times: int) -> Image.Image:
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
