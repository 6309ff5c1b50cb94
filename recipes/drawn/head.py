"""Everything around the face: head, ears, hair, body, clothes."""

from __future__ import annotations

import math

import numpy as np
import skia

from recipes.drawn.character import Character, Color
from recipes.drawn.features import project_x
from recipes.drawn.pen import BLACK, WHITE, Pen, curve, luminance, mixed, oval, polygon

_POINTS = 72


def outline(character: Character) -> skia.Path:
    """Return the outline of the head without ears and hair, half a unit high around the origin."""
    power = 2 / (2 + 5 * character.square)
    points = []
    for number in range(_POINTS):
        angle = 2 * math.pi * number / _POINTS
        x, y = (math.copysign(abs(part) ** power, part) for part in (math.cos(angle), math.sin(angle)))
        narrow = 1 - character.chin * 0.42 * max(0.0, y) ** 1.6
        points.append((character.width * narrow * x, y))
    return polygon(points)


def back(pen: Pen, character: Character) -> None:
    """Draw the things behind the head: body, long hair, ears."""
    if character.body == "shoulders":
        wide = character.width * (1.1 + 0.3 * (character.seed % 7) / 7)
        neck = character.width * 0.32
        pen.fill(
            polygon([(-neck, 0.5), (neck, 0.5), (neck, 1.5), (-neck, 1.5)]), mixed(character.skin, BLACK, 0.12), outline=True
        )
        pen.fill(
            curve(
                (-wide, 2.6),
                ((-wide, 1.2), (-neck, 1.25), (-neck, 1.18)),
                ((0, 1.5), (neck, 1.18)),
                ((neck, 1.25), (wide, 1.2), (wide, 2.6)),
                closed=True,
            ),
            character.cloth,
            outline=True,
        )
    _back_hair(pen, character)
    _ears(pen, character)


def head(pen: Pen, character: Character, lit: float) -> None:
    """Draw the head with its shading; `lit` is the side of the light, -1 or 1."""
    shape = outline(character)
    pen.fill(shape, character.skin, outline=True)
    shade = mixed(character.skin, BLACK, 0.3)
    with pen.within(shape):
        kind = pen.style.shading
        if kind == "cel":
            shadow = skia.Path().addRect(skia.Rect(-3, -3, 3, 3))
            lightened = skia.Op(shadow, oval(0.28 * lit, -0.12, character.width * 1.02, 1.02), skia.kDifference_PathOp)
            pen.fill(lightened, shade, 0.55)
        elif kind == "soft":
            pen.glow(shape, BLACK, (-0.7 * lit, 1.0), 1.5, 0.4)
            pen.glow(shape, WHITE, (0.35 * lit, -0.5), 0.8, 0.45)
        elif kind in ("tone", "hatch"):
            _tone(pen, lit, kind == "hatch")
        if character.muzzle:
            pen.fill(
                oval(0, character.mouth_y - 0.08, character.muzzle * 1.15, character.muzzle), mixed(character.skin, WHITE, 0.6)
            )
        if "freckles" in character.extras:
            marks = np.random.default_rng(character.seed)
            for side in (-1, 1):
                for _ in range(5):
                    x, y = side * character.eye_gap + marks.normal(0, 0.07), character.nose_y + marks.normal(0, 0.05)
                    pen.fill(oval(x, y, 0.018, 0.018), mixed(character.skin, BLACK, 0.45))
        if "scar" in character.extras:
            pen.line(curve((0.3, -0.4), ((0.42, 0.25),)), pen.style.detail, mixed(character.skin, BLACK, 0.4))
    if pen.style.line:
        pen.line(shape, pen.style.line, pen.ink(character.skin))


def front(pen: Pen, character: Character, turn: float) -> None:
    """Draw the things in front of the face: fringe, glasses, cap and similar."""
    if character.glasses != "none":
        size = character.eye_size * 1.5 + 0.05
        for side in (-1, 1):
            x = project_x(character.eye_gap * side, turn)
            frame = (
                oval(x, character.eye_y, size, size)
                if character.glasses == "round"
                else polygon(
                    [
                        (x - size, character.eye_y - size * 0.7),
                        (x + size, character.eye_y - size * 0.7),
                        (x + size, character.eye_y + size * 0.7),
                        (x - size, character.eye_y + size * 0.7),
                    ]
                )
            )
            pen.line(frame, pen.style.detail, mixed(character.accent, BLACK, 0.6))
        bridge = [(project_x(side * (character.eye_gap - size), turn), character.eye_y) for side in (-1, 1)]
        pen.line(polygon(bridge, closed=False), pen.style.detail, mixed(character.accent, BLACK, 0.6))
    _fringe(pen, character)
    if "cap" in character.extras and character.ears not in ("cat", "rabbit"):
        crown = curve(
            (-character.width * 1.05, -0.45),
            ((-character.width, -1.35), (character.width, -1.35), (character.width * 1.05, -0.45)),
            closed=True,
        )
        pen.fill(crown, character.accent, outline=True)
        pen.fill(
            curve(
                (-character.width * 0.2, -0.5),
                ((character.width * 0.7, -0.65), (character.width * 1.5, -0.45)),
                ((character.width * 0.8, -0.35), (-character.width * 0.2, -0.42)),
                closed=True,
            ),
            mixed(character.accent, BLACK, 0.25),
            outline=True,
        )
    if "bow" in character.extras:
        for side in (-1, 1):
            pen.fill(
                polygon([(0.45, -0.95), (0.45 + 0.24 * side, -1.1), (0.45 + 0.24 * side, -0.8)]), character.accent, outline=True
            )
    if "headphones" in character.extras:
        pen.line(
            curve((-character.width, 0), ((-character.width * 1.1, -1.4), (character.width * 1.1, -1.4), (character.width, 0))),
            0.07,
            character.accent,
        )
        for side in (-1, 1):
            pen.fill(oval(side * character.width, 0.05, 0.14, 0.24), character.accent, outline=True)
    if "horns" in character.extras:
        for side in (-1, 1):
            pen.fill(
                polygon([(side * 0.3, -0.9), (side * 0.55, -0.8), (side * 0.62, -1.35)]),
                mixed(character.accent, WHITE, 0.3),
                outline=True,
            )


def beard(pen: Pen, character: Character, turn: float) -> None:
    """Draw the beard or moustache, over which the mouth is drawn later."""
    if character.beard == "none":
        return
    x, y = project_x(0, turn), character.mouth_y
    if character.beard == "full":
        with pen.within(outline(character)):
            low = curve(
                (-1.4, character.nose_y + 0.1),
                ((-0.6, y - 0.05), (-0.5, y - 0.12), (x, y - 0.14)),
                ((0.5, y - 0.12), (0.6, y - 0.05), (1.4, character.nose_y + 0.1)),
                ((1.4, 2),),
                ((-1.4, 2),),
                closed=True,
            )
            pen.fill(low, character.hair)
    elif character.beard == "goatee":
        pen.fill(oval(x, min(0.92, y + 0.3), 0.16, 0.16), character.hair)
    else:
        for side in (-1, 1):
            pen.fill(
                curve(
                    (x, y - 0.16),
                    ((x + side * 0.2, y - 0.2), (x + side * 0.36, y - 0.02)),
                    ((x + side * 0.15, y - 0.06), (x, y - 0.09)),
                    closed=True,
                ),
                character.hair,
            )


def _tone(pen: Pen, lit: float, hatched: bool) -> None:
    """Draw dots or lines in the shadow."""
    ink = pen.style.ink
    for row in range(-14, 28):
        for column in range(1 if hatched else 16):
            if hatched:
                x = -lit * 0.1 + row * 0.075 * -lit
                pen.line(curve((x, -0.3), ((x - 0.6 * lit, 1.2),)), 0.012, ink, 0.5) if row > 4 else None
            elif row > -10:
                x, y = -lit * (0.3 + column * 0.075 + 0.0375 * (row % 2)), row * 0.06
                pen.fill(oval(x, y, 0.018, 0.018), ink, 0.6)


def _ears(pen: Pen, character: Character) -> None:
    inside = mixed(character.skin, (0.9, 0.5, 0.5), 0.4)
    for side in (-1, 1):
        w = character.width * side
        if character.ears == "round":
            pen.fill(oval(w * 0.99, character.eye_y + 0.12, 0.13, 0.19), character.skin, outline=True)
            if "earrings" in character.extras:
                pen.fill(oval(w * 1.02, character.eye_y + 0.34, 0.05, 0.05), character.accent, outline=True)
        elif character.ears == "elf":
            pen.fill(polygon([(w * 0.9, 0.2), (w * 1.5, -0.25), (w * 0.92, -0.12)]), character.skin, outline=True)
        elif character.ears == "cat":
            pen.fill(polygon([(w * 0.25, -0.9), (w * 0.9, -1.45), (w * 0.95, -0.4)]), _fur(character), outline=True)
            pen.fill(polygon([(w * 0.45, -0.92), (w * 0.84, -1.28), (w * 0.86, -0.6)]), inside)
        elif character.ears == "bear":
            pen.fill(oval(w * 0.72, -0.78, 0.28, 0.28), character.skin, outline=True)
            pen.fill(oval(w * 0.72, -0.78, 0.15, 0.15), inside)
        elif character.ears == "rabbit":
            pen.fill(oval(w * 0.42, -1.35, 0.17, 0.6), character.skin, outline=True)
            pen.fill(oval(w * 0.42, -1.32, 0.08, 0.42), inside)
        elif character.ears == "dog":
            pen.fill(oval(w * 1.0, -0.15, 0.2, 0.55), mixed(character.skin, BLACK, 0.35), outline=True)


def _fur(character: Character) -> Color:
    return character.hair if character.species == "human" else character.skin


def _back_hair(pen: Pen, character: Character) -> None:
    wide, hair = character.width * 1.16, character.hair
    if character.hair_cut in ("long", "bob"):
        length = 1.9 if character.hair_cut == "long" else 0.85
        pen.fill(
            curve(
                (-wide, length),
                ((-wide * 1.2, -0.6), (-wide * 0.9, -1.3), (0, -1.3)),
                ((wide * 0.9, -1.3), (wide * 1.2, -0.6), (wide, length)),
                closed=True,
            ),
            hair,
            outline=True,
        )
    elif character.hair_cut == "tails":
        for side in (-1, 1):
            pen.fill(oval(side * wide * 1.25, 0.1, 0.3, 0.75), hair, outline=True)
    elif character.hair_cut == "afro":
        pen.fill(oval(0, -0.4, wide * 1.25, 1.15), hair, outline=True)
    elif character.hair_cut == "bun":
        pen.fill(oval(0, -1.25, 0.36, 0.34), hair, outline=True)


def _fringe(pen: Pen, character: Character) -> None:
    if character.hair_cut == "none":
        return
    shape = np.random.default_rng(character.seed)
    wide, low = character.width * 1.08, -0.5 + float(shape.uniform(-0.12, 0.14))
    low = min(low, character.eye_y - character.eye_size * 1.1)
    top = ((wide * 1.02, -1.0), (wide * 0.6, -1.22), (0, -1.2)), ((-wide * 0.6, -1.22), (-wide * 1.02, -1.0), (-wide, low + 0.5))
    if character.hair_cut == "spiky":
        count = int(shape.integers(6, 11))
        angles = np.linspace(math.pi * 1.02, math.pi * 1.98, 2 * count + 1)
        radii = [1.06 if number % 2 == 0 else 1.06 + float(shape.uniform(0.18, 0.5)) for number in range(2 * count + 1)]
        crown = [(character.width * r * math.cos(a), r * math.sin(a)) for a, r in zip(angles, radii, strict=True)]
        pen.fill(polygon([*crown, *_hem(character, shape, wide * 0.98, low)]), character.hair, outline=True)
        return
    hem = _hem(character, shape, wide, low)
    pen.fill(curve((wide, low + 0.5), *top, *(((x, y),) for x, y in reversed(hem)), closed=True), character.hair, outline=True)
    if pen.style.shading in ("soft", "cel") and luminance(character.hair) < 0.8:
        pen.line(curve((-wide * 0.6, -0.85), ((0, -1.1), (wide * 0.6, -0.85))), 0.05, mixed(character.hair, WHITE, 0.45), 0.7)


def _hem(character: Character, shape: np.random.Generator, wide: float, low: float) -> list[tuple[float, float]]:
    """Return the lower edge of a fringe, from right to left."""
    if character.fringe == "none":
        return [(wide * 0.9, -0.35), (wide * 0.6, -0.75), (-wide * 0.6, -0.75), (-wide * 0.9, -0.35)]
    if character.fringe == "straight":
        return [(wide * 0.92, low), (-wide * 0.92, low)]
    if character.fringe == "swept":
        return [(wide * 0.92, low + 0.2), (wide * 0.3, low - 0.05), (-wide * 0.4, low - 0.3), (-wide * 0.92, low)]
    if character.fringe == "curtain":
        return [(wide * 0.95, low + 0.3), (wide * 0.5, low), (0, low - 0.42), (-wide * 0.5, low), (-wide * 0.95, low + 0.3)]
    count = int(shape.integers(3, 7))
    xs = np.linspace(wide * 0.92, -wide * 0.92, 2 * count + 1)
    return [(float(x), low - 0.25 if n % 2 == 0 else low + float(shape.uniform(-0.05, 0.16))) for n, x in enumerate(xs)]
