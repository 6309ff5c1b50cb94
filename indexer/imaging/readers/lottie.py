"""Reader of vector animations (Lottie, dotLottie and Telegram's TGS), by rlottie."""

from __future__ import annotations

import json
from math import isfinite
from typing import TYPE_CHECKING, Any

from PIL import Image
from rlottie_python.rlottie_wrapper import LottieAnimation

from indexer.domain.errors import Damaged
from indexer.imaging.readers.animation import Animation
from indexer.imaging.readers.archive import read_member
from indexer.imaging.readers.inflate import MAX_TEXT_BYTES, inflate

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIDE = 512
"""The longer side of a frame in pixels, whatever size the animation states. Stickers of Telegram have this size."""

_MAX_STATED_SIDE = 100_000
"""Limit of the side that an animation states."""

_MAX_COORDINATE = 30_000
"""Limit of the numbers of an animation, scaled to pixels: rlottie counts pixels in 16 bits, and crashes or hangs beyond."""

_NO_COORDINATES = frozenset({"ind", "parent", "ip", "op", "st", "t", "fr"})
"""The names of the members that are numbers of layers, times and rates."""

_ARCHIVE_START = b"PK\x03\x04"
_FOLDERS = ("animations/", "a/")
"""The folder of the animations in the archive, in versions 1 and 2 of dotLottie."""


def open_image(data: bytes) -> Image.Image:
    """Open an animation; frames are RGBA. Raises Damaged, and ValueError for text that is not JSON."""
    animation = json.loads(_unpacked(data) if data.startswith(_ARCHIVE_START) else inflate(data))
    if not isinstance(animation, dict):
        raise Damaged("it is not an animation")
    scale = _SIDE / max(width := _side(animation, "w"), height := _side(animation, "h"))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    _drop_files(animation)
    drawing = LottieAnimation.from_data(json.dumps(_limited(animation, _MAX_COORDINATE / scale)))
    frames = drawing.lottie_animation_get_totalframe() - 1  # the last one is after the end
    if frames < 1:
        raise Damaged("it has no frame")

    def draw(frame: int) -> Image.Image:
        pixels = drawing.lottie_animation_render(frame, width=size[0], height=size[1])
        return Image.frombytes("RGBA", size, pixels, "raw", "BGRa")

    return Animation("LOTTIE", size, frames, draw)


def _side(animation: dict[str, Any], name: str) -> float:
    """Return the width or height that an animation states. Raises Damaged if it is not a possible one."""
    side = animation.get(name)
    if not isinstance(side, int | float) or not 1 <= side <= _MAX_STATED_SIDE:
        raise Damaged("it states no possible size")
    return side


def _limited(value: Any, limit: float) -> Any:
    """Return a value of JSON with all coordinates within the limit; infinity and what is not a number become 0."""
    if isinstance(value, dict):
        return {name: member if name in _NO_COORDINATES else _limited(member, limit) for name, member in value.items()}
    if isinstance(value, list):
        return [_limited(member, limit) for member in value]
    if not isinstance(value, int | float) or -limit <= value <= limit:
        return value
    return (limit if value > 0 else -limit) if isfinite(value) else 0


def _unpacked(data: bytes) -> bytes:
    """Return the first animation of a dotLottie file."""
    animation = read_member(data, lambda name: name.startswith(_FOLDERS) and name.endswith(".json"), MAX_TEXT_BYTES)
    if animation is None:
        raise Damaged("it is an archive without an animation")
    return animation


def _drop_files(animation: dict[str, Any]) -> None:
    """Remove the names of image files, which rlottie could read; images inside the text stay."""
    for asset in _members(animation.get("assets")):
        if "p" in asset and not str(asset["p"]).startswith("data:"):
            asset.update(p="", u="", e=0)


def _members(values: object) -> Iterator[dict[str, Any]]:
    return (value for value in values if isinstance(value, dict)) if isinstance(values, list) else iter(())
