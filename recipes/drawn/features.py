"""Eyes, brows, mouth and nose, drawn from action units."""

from __future__ import annotations

import math

from recipes.drawn.character import Character
from recipes.drawn.expression import Expression
from recipes.drawn.pen import BLACK, WHITE, Pen, curve, mixed, oval, polygon

_TONGUE = (0.9, 0.45, 0.45)
_THROAT = (0.35, 0.08, 0.1)
_CLOSED_EYE_OPENING = 0.16
"""An eye that is open less than this share is drawn closed."""


def eyes(pen: Pen, character: Character, expression: Expression, gaze: tuple[float, float], turn: float) -> None:
    """Draw both eyes. `gaze` is their direction, -1 to 1; `turn` is the rotation of the head, -1 to 1."""
    for side in (-1, 1):
        near = 1 - 0.28 * max(0.0, turn * side)
        with pen.at(project_x(character.eye_gap * side, turn), character.eye_y, mirrored=side < 0, stretch=near):
            _eye(pen, character, expression, (gaze[0] * side, gaze[1]))


def brows(pen: Pen, character: Character, expression: Expression, turn: float) -> None:
    """Draw both brows: unit 1 lifts and 4 lowers the inner end, 2 lifts the outer end."""
    style, far = pen.style, pen.style.exaggeration
    if style.brows == "none":
        return
    color = mixed(character.hair, BLACK, 0.45) if character.hair_cut != "none" else pen.ink(character.skin)
    tall = character.eye_size * character.eye_tall if style.eyes not in ("cartoon", "almond") else character.eye_size * 0.8
    base = character.eye_y - tall - character.brow_gap
    for side in (-1, 1):
        lift = 1 + 0.3 * float(pen.random.uniform(-1, 1))
        inner = far * (-0.2 * expression.unit(1) * lift + 0.2 * expression.unit(4)) - 0.05 * expression.unit(2)
        outer = far * (-0.15 * expression.unit(2) * lift + 0.03 * expression.unit(1) - 0.03 * expression.unit(4)) + 0.03
        middle = far * (-0.12 * expression.unit(2) - 0.05 * expression.unit(1) + 0.09 * expression.unit(4)) - 0.03
        half, weight = character.eye_size * character.brow_size, 0.02 * character.brow_weight
        start, end, top = (
            (-half - 0.05 * expression.unit(4), inner),
            (half, outer),
            (0.1 * half, middle * 2 - (inner + outer) / 2),
        )
        with pen.at(project_x(character.eye_gap * side, turn), base, mirrored=side < 0, stretch=1 - 0.25 * max(0.0, turn * side)):
            if style.brows in ("line", "round"):
                pen.line(curve(start, (top, end)), weight if style.brows == "line" else weight * 1.8, color)
            else:
                thick = weight * (1.6 if style.brows == "block" else 1.3)
                tip = thick * (0.8 if style.brows == "block" else 0.05)
                low, high = (start[0], start[1] + thick), (end[0], end[1] + tip)
                pen.fill(curve(start, (top, end), (high,), ((top[0], top[1] + thick), low), closed=True), color)


def mouth(pen: Pen, character: Character, expression: Expression, turn: float) -> None:
    """Draw the mouth: units 12 and 15 move the corners, 25 and 26 open it, 10 lifts the lip, 18, 20 and 23 set its width."""
    style, far = pen.style, pen.style.exaggeration
    half = character.mouth_size * (
        1 + 0.3 * expression.unit(12) + 0.35 * expression.unit(20) - 0.5 * expression.unit(18) - 0.2 * expression.unit(23)
    )
    half *= 0.4 if "small mouth" in expression.signs else 1
    corner = far * character.mouth_size * (0.55 * expression.unit(15) - 0.55 * expression.unit(12))
    middle = far * character.mouth_size * (0.4 * expression.unit(12) - 0.4 * expression.unit(15) - 0.2 * expression.unit(17))
    left = right = corner
    if "lopsided" in expression.signs:
        left, right = corner + 0.08, corner - 0.06
    if "smirk" in expression.signs:
        left, right, middle = 0.0, corner * 1.3, middle * 0.6
    opening = far * (0.05 * expression.unit(25) + 0.36 * expression.unit(26)) * (1 if expression.unit(25) > 0.3 else 0)
    with pen.at(project_x(0, turn), character.mouth_y, stretch=1 - 0.12 * abs(turn), mirrored=bool(pen.random.random() < 0.5)):
        if "clenched" in expression.signs:
            _teeth(pen, half, left, right, middle, max(0.1, opening))
        elif opening > 0.03:
            _open_mouth(pen, expression, half, (left, right), middle, opening)
        elif "wavy" in expression.signs:
            waves = int(pen.random.integers(2, 5))
            steps = [step / 24 for step in range(25)]
            bend = [(half * (2 * t - 1), corner * (2 * t - 1) ** 2 + 0.045 * math.sin(2 * math.pi * waves * t)) for t in steps]
            pen.line(polygon(bend, closed=False), style.detail, pen.ink(character.skin))
        else:
            _closed_mouth(pen, character, expression, half, (left, right), middle)
        if "tongue out" in expression.signs:
            tip = curve(
                (-0.09, middle), ((-0.1, middle + opening + 0.24), (0.1, middle + opening + 0.24), (0.09, middle)), closed=True
            )
            pen.fill(tip, _TONGUE, outline=True)


def nose(pen: Pen, character: Character, expression: Expression, turn: float) -> None:
    """Draw the nose, and the wrinkles of unit 9 above it."""
    kind, size, ink = pen.style.nose, character.nose_size, pen.ink(character.skin)
    with pen.at(project_x(0, turn * 1.35), character.nose_y - 0.05 * expression.unit(9), mirrored=turn > 0):
        if character.muzzle:
            pen.fill(oval(0, 0, 0.11, 0.07), mixed(character.accent, BLACK, 0.7))
        elif kind == "dot":
            pen.fill(oval(0, 0, size * 0.3, size * 0.3), ink)
        elif kind == "hook":
            pen.line(
                curve((0.1 * size, -size * 1.5), ((-size * 1.4, size * 0.4), (0.3 * size, size * 0.4))), pen.style.detail, ink
            )
        elif kind == "wedge":
            pen.line(curve((0, -size), ((-size, size * 0.3),), ((0.2 * size, size * 0.4),)), pen.style.detail, ink)
        elif kind == "button":
            pen.fill(oval(0, 0, size, size * 0.8), mixed(character.skin, (0.85, 0.35, 0.3), 0.35), outline=True)
        elif kind == "shade":
            pen.fill(oval(0.02, 0, size * 0.7, size * 0.5), mixed(character.skin, BLACK, 0.25), 0.7)
        elif kind == "nostrils":
            for x in (-0.5, 0.5):
                pen.fill(oval(x * size, 0, size * 0.18, size * 0.12), ink)
    if expression.unit(9) > 0.35:
        height = (character.eye_y + character.nose_y) / 2
        with pen.at(project_x(0, turn), height):
            for row in range(2 + int(pen.random.integers(2))):
                y = (row - 1) * 0.06
                pen.line(curve((-0.07, y - 0.02), ((0, y + 0.03), (0.07, y - 0.02))), pen.style.detail * 0.8, ink)
        for side in (-1, 1):
            with pen.at(project_x(side * character.mouth_size, turn), character.nose_y + 0.05, mirrored=side < 0):
                pen.line(curve((-0.08, -0.08), ((0.05, -0.02), (0.06, 0.16))), pen.style.detail * 0.8, ink, 0.8)


def project_x(x: float, turn: float) -> float:
    """Return the position of a point of the face on a turned head: it shifts, and the far half is foreshortened."""
    return turn * 0.27 + x * (1 - 0.25 * max(0.0, turn * math.copysign(1, x)))


def _eye(pen: Pen, character: Character, expression: Expression, gaze: tuple[float, float]) -> None:
    """Draw an eye with its inner corner on the left."""
    style, far = pen.style, pen.style.exaggeration
    width = character.eye_size
    height = width * character.eye_tall * (1 + 0.4 * expression.unit(5))
    top = 1 - expression.unit(43) - 0.3 * expression.unit(7) - 0.15 * expression.unit(6)
    ink = pen.ink(character.skin)
    line = max(style.detail, 0.03) if style.eyes in ("dot", "oval", "bead", "manga") else style.detail
    if expression.unit(43) >= 1 and "squeezed lids" in expression.signs:
        pen.line(curve((width, -height * 0.5), ((-width * 0.7, 0),), ((width, height * 0.5),)), line, ink)
        return
    if top < _CLOSED_EYE_OPENING:
        slope = 0.3 * width * (expression.unit(1) - expression.unit(4))
        bend = -0.9 * width if "arched lids" in expression.signs else 0.7 * width
        pen.line(curve((-width, -slope), ((0, bend), (width, slope))), line * 1.2, ink)
        if character.lashes:
            for x in (0.4, 0.8):
                pen.line(curve((x * width, slope * x), (((x + 0.25) * width, slope * x + 0.08),)), line * 0.7, ink)
        return
    # Cover of the eye by the lids at its inner and outer end: 0 is open, 1 is closed.
    drop = max(0.0, 1 - top)
    inner = min(0.85, drop + 0.55 * far * expression.unit(4) * (1 - 0.5 * expression.unit(1)))
    outer = min(0.85, drop + 0.45 * far * expression.unit(1) * (1 - expression.unit(5)) * (1 - 0.6 * expression.unit(2)))
    lower = min(0.5, 0.45 * expression.unit(6) + 0.25 * expression.unit(7))
    shrink = 0.55 if "small pupils" in expression.signs else 1.25 if "big pupils" in expression.signs else 1.0
    x, y = 0.35 * width * gaze[0], 0.35 * height * gaze[1]
    wide, tall = width * 1.6, height * 1.6
    open_wide = inner < 0.02 and outer < 0.02
    low = height - 1.8 * height * lower if lower > 0.08 else tall
    visible = polygon(
        [
            (-wide, -tall if open_wide else -height + 1.8 * height * inner),
            (wide, -tall if open_wide else -height + 1.8 * height * outer),
            (wide, low),
            (-wide, low),
        ]
    )
    with pen.within(visible):
        _open_eye(pen, character, expression, (x, y), width, height, shrink)
    if max(inner, outer) > 0.12 or style.eyes == "manga":
        high_inner, high_outer = -height + 1.8 * height * inner, -height + 1.8 * height * outer
        reach = 0.95 if max(inner, outer) > 0.12 else 0.7
        bow = 0.0 if max(inner, outer) > 0.12 else 0.35 * height
        pen.line(
            curve(
                (-width * reach, high_inner + bow), ((0, (high_inner + high_outer) / 2 - bow), (width * reach, high_outer + bow))
            ),
            line * (1.7 if style.eyes == "manga" else 1.1),
            ink,
        )
    if expression.unit(6) > 0.5 and lower > 0.2:
        pen.line(
            curve((-width * 0.8, height * 0.75), ((0, height * (1 - lower)), (width * 0.8, height * 0.75))),
            style.detail * 0.8,
            ink,
        )
    if character.lashes and style.eyes != "goggle":
        lash = -height + 1.8 * height * outer + 0.2 * height
        for x in (0.75, 1.0):
            pen.line(curve((x * width * 0.8, lash), ((x * width * 1.15 + 0.03, lash - 0.08),)), style.detail * 0.8, ink)
    if "welling" in expression.signs:
        with pen.within(oval(0, 0, width, height)):
            pen.fill(oval(0, height * 0.8, width, height * 0.45), (0.75, 0.9, 1.0), 0.75)


def _open_eye(
    pen: Pen, character: Character, expression: Expression, look: tuple[float, float], width: float, height: float, shrink: float
) -> None:
    kind, (x, y) = pen.style.eyes, look
    dark = mixed(character.iris, BLACK, 0.85)
    if kind in ("dot", "bead", "oval"):
        ink = BLACK if kind != "oval" else dark
        if kind == "bead" or character.whites:
            pen.fill(oval(0, 0, width * 1.35, height * 1.25), WHITE, outline=kind == "bead")
        pen.fill(oval(x * 0.6, y * 0.6, width * 0.85 * min(1, shrink), height * min(1, shrink)), ink)
        if kind != "dot" or character.lashes:
            pen.fill(oval(x - width * 0.25, y - height * 0.35, width * 0.28, height * 0.25), WHITE)
    elif kind == "goggle":
        pen.fill(oval(0, 0, width * 1.15, height * 1.05), WHITE, outline=True)
        size = 0.42 * shrink * min(width, height)
        pen.fill(oval(x * 1.3, y * 1.3, size, size * 1.15), dark)
    elif kind == "manga":
        pen.fill(oval(0, 0, width, height), WHITE)
        iris = oval(x, y * 0.6 + 0.05 * height, width * 0.72 * shrink, height * 0.88 * shrink)
        pen.fill(iris, character.iris, outline=True)
        with pen.within(iris):
            pen.fill(oval(x, y - height * 0.5, width, height * 0.7), mixed(character.iris, BLACK, 0.6), 0.8)
        pen.fill(oval(x, y * 0.6 + 0.05 * height, width * 0.28 * shrink, height * 0.4 * shrink), BLACK)
        pen.fill(oval(x - width * 0.25, y - height * 0.35, width * 0.25, height * 0.22), WHITE)
        pen.fill(oval(x + width * 0.25, y + height * 0.4, width * 0.14, height * 0.12), WHITE)
    else:
        flat = height if kind == "cartoon" else height * 0.62
        shape = (
            oval(0, 0, width * 1.05, flat)
            if kind == "cartoon"
            else curve(
                (-width * 1.1, flat * 0.25),
                ((-width * 0.4, -flat * 1.4), (width * 0.7, -flat * 1.3), (width * 1.15, -flat * 0.1)),
                ((width * 0.5, flat * 1.1), (-width * 0.6, flat * 1.0), (-width * 1.1, flat * 0.25)),
                closed=True,
            )
        )
        pen.fill(shape, WHITE, outline=True)
        size = 0.62 * shrink * min(width, flat * 1.15)
        with pen.within(shape):
            pen.fill(oval(x * 1.2, y, size, size), character.iris, outline=pen.style.line > 0)
            pen.fill(oval(x * 1.2, y, size * 0.5, size * 0.5), BLACK)
            pen.fill(oval(x * 1.2 - size * 0.35, y - size * 0.35, size * 0.25, size * 0.25), WHITE)
        if kind == "almond":
            pen.line(
                curve(
                    (-width * 1.1, flat * 0.25),
                    ((-width * 0.4, -flat * 1.4), (width * 0.7, -flat * 1.3), (width * 1.15, -flat * 0.1)),
                ),
                pen.style.detail * 1.4,
                pen.ink(character.skin),
            )


def _closed_mouth(
    pen: Pen, character: Character, expression: Expression, half: float, corners: tuple[float, float], middle: float
) -> None:
    style, ink, (left, right) = pen.style, pen.ink(character.skin), corners
    bend = 2 * middle - (left + right) / 2
    if style.mouth == "cat" and expression.unit(15) < 0.3:
        for sign in (-1, 1):
            pen.line(curve((0, 0), ((sign * half * 0.5, 0.5 * half), (sign * half, left))), style.detail, ink)
        return
    if style.mouth == "lips":
        thick = 0.05 + 0.03 * (1 - expression.unit(23))
        red = mixed(character.skin, (0.75, 0.2, 0.25), 0.5)
        pen.fill(curve((-half, left), ((0, bend - 2 * thick), (half, right)), ((0, bend + 3 * thick), (-half, left))), red)
    pen.line(curve((-half, left), ((0, bend), (half, right))), style.detail, ink)
    if pen.random.random() < 0.25 and expression.unit(12) > 0.4:
        for x, y in ((-half, left), (half, right)):
            pen.line(curve((x - 0.03, y - 0.03), ((x * 1.06, y), (x + 0.02, y + 0.04))), style.detail * 0.8, ink)
    if expression.unit(17) > 0.5:
        pen.line(curve((-half * 0.4, 0.15), ((0, 0.1), (half * 0.4, 0.15))), style.detail * 0.7, ink, 0.7)


def _open_mouth(
    pen: Pen, expression: Expression, half: float, corners: tuple[float, float], middle: float, opening: float
) -> None:
    left, right = corners
    upper = middle - opening * 0.55 - 0.07 * expression.unit(10)
    lower = middle + opening * 0.9
    if expression.unit(18) > 0.25:
        shape = oval(0, 0.05, half, max(0.05, opening * 0.8))
    else:
        square = 0.55 + 0.3 * expression.unit(10)
        shape = curve(
            (-half, left),
            ((-half * square, upper * 1.2), (half * square, upper * 1.2), (half, right)),
            ((half * 0.9, lower * 1.35 + right * 0.2), (-half * 0.9, lower * 1.35 + left * 0.2), (-half, left)),
            closed=True,
        )
    pen.fill(shape, _THROAT, outline=False)
    with pen.within(shape):
        if "tongue" in expression.signs or pen.random.random() < 0.25:
            pen.fill(oval(0, lower * 1.1, half * 0.6, opening * 0.5), _TONGUE)
        if "teeth" in expression.signs:
            pen.fill(polygon([(-1, -1), (1, -1), (1, upper + opening * 0.35), (-1, upper + opening * 0.35)]), WHITE)
            if expression.unit(4) > 0.5:
                pen.fill(polygon([(-1, lower - opening * 0.1), (1, lower - opening * 0.1), (1, 1), (-1, 1)]), WHITE)
        if "fangs" in expression.signs:
            for x in (-0.5, 0.5):
                pen.fill(
                    polygon([((x - 0.15) * half, upper - 0.1), ((x + 0.15) * half, upper - 0.1), (x * half, lower * 0.6)]), WHITE
                )
    pen.line(shape, pen.style.detail, pen.ink(_THROAT))


def _teeth(pen: Pen, half: float, left: float, right: float, middle: float, opening: float) -> None:
    """Draw two rows of teeth between retracted lips."""
    up, down = middle - opening * 0.7, middle + opening * 0.8
    shape = curve((-half, left), ((0, 2 * up - left), (half, right)), ((0, 2 * down - right), (-half, left)), closed=True)
    pen.fill(shape, WHITE)
    with pen.within(shape):
        pen.line(curve((-half, left), ((0, 2 * middle - left), (half, right))), pen.style.detail * 0.6)
        for step in range(-3, 4):
            pen.line(curve((step * half / 3.5, -1), ((step * half / 3.5, 1),)), pen.style.detail * 0.5)
    pen.line(shape, pen.style.detail)
