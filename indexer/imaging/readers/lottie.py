"""Reader of vector animations (Lottie, dotLottie and Telegram's TGS), by rlottie."""

from __future__ import annotations

import json
from io import BytesIO
from math import isfinite
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

from PIL import Image
from rlottie_python.rlottie_wrapper import LottieAnimation

from indexer.domain.errors import Damaged
from indexer.imaging.readers.animation import Animation
from indexer.imaging.readers.inflate import MAX_TEXT_BYTES, check_length, inflate

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIDE = 512
"""The longer side of a frame in pixels, whatever size the animation states. Stickers of Telegram have this size."""

_MAX_NUMBER = 20_000
"""Limit of the numbers in an animation: with larger coordinates, rlottie takes all memory or does not end."""

_ARCHIVE_START = b"PK\x03\x04"
_FOLDERS = ("animations/", "a/")
"""The folder of the animations in the archive, in versions 1 and 2 of dotLottie."""


def open_image(data: bytes) -> Image.Image:
    """Open an animation; frames are RGBA. Raises Damaged, and ValueError for text that is not JSON."""
    text = _unpacked(data) if data.startswith(_ARCHIVE_START) else inflate(data)
    animation = json.loads(text, parse_int=_limited, parse_float=_limited, parse_constant=_limited)
    if not isinstance(animation, dict):
        raise Damaged("it is not an animation")
    _drop_files(animation)
    drawing = LottieAnimation.from_data(json.dumps(animation))
    width, height = drawing.lottie_animation_get_size()
    frames = drawing.lottie_animation_get_totalframe() - 1  # the last one is after the end
    if not (0 < width <= _MAX_NUMBER and 0 < height <= _MAX_NUMBER and frames > 0):
        raise Damaged("it states no size or no frame")
    scale = _SIDE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))

    def draw(frame: int) -> Image.Image:
        pixels = drawing.lottie_animation_render(frame, width=size[0], height=size[1])
        return Image.frombytes("RGBA", size, pixels, "raw", "BGRa")

    return Animation("LOTTIE", size, frames, draw)


def _limited(number: str) -> int | float:
    """Return a number of an animation, within the limit; infinity and what is not a number become 0."""
    value = float(number)
    limited = max(-_MAX_NUMBER, min(_MAX_NUMBER, value)) if isfinite(value) else 0
    return int(limited) if limited == int(limited) else limited


def _unpacked(data: bytes) -> bytes:
    """Return the first animation of a dotLottie file."""
    with ZipFile(BytesIO(data)) as archive:
        names = (name for name in archive.namelist() if name.startswith(_FOLDERS) and name.endswith(".json"))
        name = next(names, None)
        if name is None:
            raise Damaged("it is an archive without an animation")
        with archive.open(name) as member:
            return check_length(member.read(MAX_TEXT_BYTES + 1))


def _drop_files(animation: dict[str, Any]) -> None:
    """Remove the names of image files, which rlottie could read; images inside the text stay."""
    for asset in _members(animation.get("assets")):
        if "p" in asset and not str(asset["p"]).startswith("data:"):
            asset.update(p="", u="", e=0)


def _members(values: object) -> Iterator[dict[str, Any]]:
    return (value for value in values if isinstance(value, dict)) if isinstance(values, list) else iter(())
