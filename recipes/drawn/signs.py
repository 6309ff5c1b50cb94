"""Signs of emotions that drawings add to a face: tears, blushes, sweat, veins, gloom."""

from __future__ import annotations

from recipes.drawn.character import Character
from recipes.drawn.expression import Expression
from recipes.drawn.features import project_x
from recipes.drawn.head import outline
from recipes.drawn.pen import Pen, curve, mixed, oval, polygon

_WATER = (0.55, 0.82, 0.98)
_RED = (0.93, 0.32, 0.35)
_STEAM = (0.92, 0.92, 0.95)


def under(pen: Pen, character: Character, expression: Expression, turn: float) -> None:
    """Draw the signs on the skin, below eyes and mouth."""
    signs = expression.signs
    with pen.within(outline(character)):
        if "blush" in signs or "cheeks" in character.extras:
            _blush(pen, character, turn, strong=expression.emotion == "embarrassed")
        if "green" in signs:
            pen.glow(polygon([(-2, -2), (2, -2), (2, 2), (-2, 2)]), (0.45, 0.7, 0.25), (0, -0.2), 1.3, 0.6)
        if "gloom" in signs:
            for number in range(7):
                x = project_x(-0.55 + number * 0.18, turn)
                pen.line(curve((x, -1.1), ((x, -0.25 - 0.2 * ((number * 3) % 4) / 4),)), 0.022, (0.35, 0.4, 0.6), 0.75)
        if "puffed" in signs:
            for side in (-1, 1):
                pen.line(
                    oval(project_x(side * (character.mouth_size + 0.22), turn), character.mouth_y, 0.16, 0.15),
                    pen.style.detail * 0.7,
                    pen.ink(character.skin),
                    0.7,
                )


def over(pen: Pen, character: Character, expression: Expression, turn: float) -> None:
    """Draw the signs in front of the face and next to it."""
    signs, random = expression.signs, pen.random
    _tears(pen, character, expression, turn)
    if "sweat" in signs:
        _drop(pen, project_x(character.width * 0.62, turn), character.eye_y - 0.45, float(random.uniform(0.09, 0.15)))
    if "vein" in signs:
        with pen.at(project_x(character.width * 0.55, turn), -0.62, turned=float(random.uniform(-20, 20))):
            for corner in range(4):
                with pen.at(0, 0, turned=90.0 * corner):
                    pen.line(curve((0.04, -0.16), ((0.04, -0.04), (0.16, -0.04))), max(0.03, pen.style.detail), _RED)
    if "steam" in signs:
        for side in (-1, 1):
            for step in range(3):
                pen.fill(oval(side * (character.width + 0.12 + 0.12 * step), -0.5 - 0.12 * step, 0.1, 0.09), _STEAM, outline=True)
    if "exclaim" in signs:
        x = character.width + 0.25
        pen.fill(polygon([(x - 0.07, -1.2), (x + 0.07, -1.2), (x + 0.03, -0.75), (x - 0.03, -0.75)]), _RED, outline=True)
        pen.fill(oval(x, -0.64, 0.05, 0.05), _RED, outline=True)
    if "sparkle" in signs:
        for x, y in ((character.width + 0.2, -0.7), (-character.width - 0.15, -0.3)):
            pen.fill(
                curve(
                    (x, y - 0.2),
                    ((x, y), (x + 0.2, y)),
                    ((x, y), (x, y + 0.2)),
                    ((x, y), (x - 0.2, y)),
                    ((x, y), (x, y - 0.2)),
                    closed=True,
                ),
                (1.0, 0.85, 0.3),
                outline=True,
            )


def _tears(pen: Pen, character: Character, expression: Expression, turn: float) -> None:
    signs, random = expression.signs, pen.random
    low = character.eye_y + character.eye_size * character.eye_tall * 0.8
    if "stream" in signs:
        with pen.within(outline(character)):
            for side in (-1, 1):
                x, wide = project_x(side * character.eye_gap, turn), character.eye_size * 0.5
                band = curve(
                    (x - wide, low - 0.05),
                    ((x - wide * 1.2, 1.2),),
                    ((x + wide * 1.2, 1.2),),
                    ((x + wide, low - 0.05),),
                    closed=True,
                )
                pen.fill(band, _WATER, 0.9, outline=True)
    if "tear" in signs:
        for side in (-1, 1) if random.random() < 0.6 else (1,):
            x = project_x(side * (character.eye_gap + character.eye_size * 0.3), turn)
            _drop(pen, x, low + float(random.uniform(0.1, 0.22)), float(random.uniform(0.07, 0.13)))


def _blush(pen: Pen, character: Character, turn: float, strong: bool) -> None:
    kind = character.seed % 4
    y = (character.eye_y + character.mouth_y) / 2 + 0.08
    red = mixed(character.skin, _RED, 0.75 if strong else 0.5)
    if strong and kind == 3:
        pen.fill(oval(project_x(0, turn), y - 0.06, character.width * 0.85, 0.2), red, 0.55)
        return
    for side in (-1, 1):
        x = project_x(side * (character.eye_gap + 0.12), turn)
        if kind == 0 and not pen.style.gray:
            pen.fill(oval(x, y, 0.19, 0.12), red, 0.8)
        elif kind == 1:
            pen.glow(oval(x, y, 0.3, 0.22), _RED, (x, y), 0.26, 0.85)
        else:
            for step in (-1, 0, 1):
                pen.line(
                    curve((x + step * 0.08 + 0.03, y - 0.06), ((x + step * 0.08 - 0.03, y + 0.06),)), pen.style.detail * 0.8, _RED
                )


def _drop(pen: Pen, x: float, y: float, size: float) -> None:
    shape = curve(
        (x, y - size * 1.6),
        ((x + size * 0.2, y - size * 0.7), (x + size, y - size * 0.3), (x + size, y + size * 0.2)),
        ((x + size, y + size * 1.1), (x - size, y + size * 1.1), (x - size, y + size * 0.2)),
        ((x - size, y - size * 0.3), (x - size * 0.2, y - size * 0.7), (x, y - size * 1.6)),
        closed=True,
    )
    pen.fill(shape, _WATER, outline=True)
