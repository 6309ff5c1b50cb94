"""Tees: the round figures of Teeworlds and DDNet, whose body, feet and eyes are parts of a skin.

Sizes and offsets are those of the game (`src/game/client/render.cpp` and `datasrc/content.py` of ddnet/ddnet), in shares of the
size of a tee: feet at 7/64 to the left and right, eyes of 0.4, moved in the direction in which the tee looks.
"""

from __future__ import annotations

from PIL import Image

_SIZE = 192
"""Width and height of the body, in pixels."""

_CANVAS = 320
_BODY = (64, 40)
"""Left top corner of the body."""

_FEET_DOWN = 114
"""Distance from the top of the body to the top of the feet."""

_FOOT_ASIDE = _SIZE * 7 // 64
_EYE = int(0.4 * _SIZE)

_CELL = 32
"""A skin has 8 x 4 cells of this width and height."""

_PARTS = {"body": (0, 0, 3, 3), "body outline": (3, 0, 3, 3), "foot": (6, 1, 2, 1), "foot outline": (6, 2, 2, 1)}
"""Parts of a skin: column, row, width and height in cells."""

_EYES = {"normal": 2, "angry": 3, "happy": 5, "surprise": 7}
"""Columns of the eyes, in the last row."""


def draw_tee(skin: Image.Image, expression: str, look: tuple[float, float]) -> Image.Image:
    """Draw a tee that stands.

    - `skin`: RGBA, 256 x 128 pixels.
    - `expression`: normal, angry, happy or surprise.
    - `look`: where it looks, right and down, from -1 to 1.
    """
    if skin.size != (8 * _CELL, 4 * _CELL):
        raise ValueError(f"A skin has {8 * _CELL} x {4 * _CELL} pixels, not {skin.width} x {skin.height}.")
    sheet = skin.resize((2 * skin.width, 2 * skin.height), Image.Resampling.LANCZOS)
    parts = {name: _cut(sheet, *place) for name, place in _PARTS.items()}
    for name in ("foot", "foot outline"):
        parts[name] = parts[name].resize((_SIZE, _SIZE // 2), Image.Resampling.BICUBIC)
    left, top = _BODY
    back, front = (left - _FOOT_ASIDE, top + _FEET_DOWN), (left + _FOOT_ASIDE, top + _FEET_DOWN)
    tee = Image.new("RGBA", (_CANVAS, _CANVAS))
    tee.alpha_composite(parts["foot outline"], back)
    tee.alpha_composite(parts["foot outline"], front)
    tee.alpha_composite(parts["body outline"], _BODY)
    tee.alpha_composite(parts["foot"], back)
    tee.alpha_composite(parts["body"], _BODY)
    _draw_eyes(tee, _cut(sheet, _EYES[expression], 3, 1, 1), look)
    tee.alpha_composite(parts["foot"], front)
    return tee


def _draw_eyes(tee: Image.Image, eye: Image.Image, look: tuple[float, float]) -> None:
    """Draw an eye and, to the right, its mirror image."""
    x, y = look
    eye = eye.resize((_EYE, _EYE), Image.Resampling.LANCZOS)
    middle = _BODY[0] + _SIZE / 2 + 0.125 * x * _SIZE - _EYE / 2
    apart = (0.075 - 0.010 * abs(x)) * _SIZE
    top = int(_BODY[1] + _SIZE / 2 + (-0.05 + 0.10 * y) * _SIZE - _EYE / 2)
    tee.alpha_composite(eye, (int(middle - apart), top))
    tee.alpha_composite(eye.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (int(middle + apart), top))


def _cut(sheet: Image.Image, column: int, row: int, width: int, height: int) -> Image.Image:
    """Cut cells out of a skin that was doubled."""
    side = 2 * _CELL
    return sheet.crop((column * side, row * side, (column + width) * side, (row + height) * side))
