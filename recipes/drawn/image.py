"""Drawing of an image from a character and an expression."""

from __future__ import annotations

import numpy as np
import skia
from PIL import Image

from recipes.drawn import features, head, signs
from recipes.drawn.character import Character, Style
from recipes.drawn.expression import Expression
from recipes.drawn.pen import Pen, mixed, oval, polygon

Box = tuple[float, float, float, float]


def draw(
    character: Character, style: Style, expression: Expression, side: int, random: np.random.Generator
) -> tuple[Image.Image, Box]:
    """Draw a square image, `side` pixels wide; return it with the box of the head as fractions: left, top, right, bottom.

    It is RGB or, with the background "none", RGBA.
    """
    pixels = style.pixels or side
    surface = skia.Surface(pixels, pixels)
    canvas = surface.getCanvas()
    pen = Pen(canvas, style, random)
    scale = pixels * float(random.uniform(0.27, 0.44))
    turn = float(np.clip(random.normal(0, 0.35), -0.9, 0.9)) * (1 if random.random() < 0.6 else 0.2)
    roll = float(np.clip(random.normal(0, 7), -25, 25))
    middle = [pixels * float(0.5 + random.uniform(-0.07, 0.07)) for _ in "xy"]
    _background(pen, character, pixels)
    canvas.translate(*middle)
    canvas.rotate(roll)
    canvas.scale(scale, scale)
    down = 0.1 * expression.unit(54)
    _figure(pen, character, expression, turn, down)

    drawn = Image.fromarray(np.ascontiguousarray(surface.toarray(colorType=skia.kRGBA_8888_ColorType)))
    image = drawn.convert("RGB")
    if style.pixels:
        image = image.quantize(int(random.integers(6, 28)), dither=Image.Dither.NONE).convert("RGB")
    if style.gray:
        image = image.convert("L").convert("RGB")
    if style.background == "none":
        image.putalpha(drawn.getchannel("A"))
    if style.pixels:
        image = image.resize((side, side), Image.Resampling.NEAREST)
    corners = [
        ((middle[n % 2] + sign * scale * (character.width if n % 2 == 0 else 1.0)) / pixels)
        for n, sign in enumerate((-1, -1, 1, 1))
    ]
    left, top, right, bottom = (float(min(1, max(0, corner))) for corner in corners)
    return image, (left, top, right, bottom)


def _figure(pen: Pen, character: Character, expression: Expression, turn: float, down: float) -> None:
    lit = 1.0 if character.seed % 2 else -1.0
    away = float(pen.random.choice([-1, 1])) * expression.unit(61)
    gaze = (
        float(np.clip(away + pen.random.normal(0, 0.2) + turn * 0.5, -1, 1)),
        float(np.clip(expression.unit(64) * 0.9 + pen.random.normal(0, 0.12), -1, 1)),
    )
    head.back(pen, character)
    head.head(pen, character, lit)
    with pen.at(0, down):
        signs.under(pen, character, expression, turn)
        head.beard(pen, character, turn)
        if pen.style.nose != "none" or character.muzzle:
            features.nose(pen, character, expression, turn)
        features.mouth(pen, character, expression, turn)
        features.eyes(pen, character, expression, gaze, turn)
        features.brows(pen, character, expression, turn)
    head.front(pen, character, turn)
    with pen.at(0, down):
        signs.over(pen, character, expression, turn)


def _background(pen: Pen, character: Character, pixels: int) -> None:
    canvas, random, kind = pen.canvas, pen.random, pen.style.background
    one, other = (
        mixed(character.accent, (1, 1, 1), float(random.uniform(0, 0.9))),
        mixed(character.cloth, (1, 1, 1), float(random.uniform(0, 0.9))),
    )
    page = skia.Path().addRect(skia.Rect(0, 0, pixels, pixels))
    if kind == "none":
        return
    canvas.clear(skia.ColorWHITE)
    if kind == "white":
        return
    canvas.drawPath(page, skia.Paint(Color4f=skia.Color4f(*one, 1)))
    if kind == "gradient":
        colors = [skia.Color4f(*color, 1).toColor() for color in (one, other)]
        ends = [skia.Point(0, 0), skia.Point(pixels * float(random.uniform(0, 1)), pixels)]
        canvas.drawPath(page, skia.Paint(Shader=skia.GradientShader.MakeLinear(ends, colors)))
    elif kind == "shapes":
        for _ in range(int(random.integers(3, 12))):
            x, y, size = (float(part) * pixels for part in random.random(3))
            tint = mixed(one, other, float(random.random()))
            angles = np.sort(random.random(int(random.integers(3, 6)))) * 2 * np.pi
            shape = (
                oval(x, y, size * 0.3, size * 0.25)
                if random.random() < 0.5
                else polygon([(x + size * 0.3 * float(np.cos(angle)), y + size * 0.3 * float(np.sin(angle))) for angle in angles])
            )
            canvas.drawPath(shape, skia.Paint(AntiAlias=True, Color4f=skia.Color4f(*tint, 1)))
    elif kind == "noise":
        noise = skia.PerlinNoiseShader.MakeTurbulence(0.03, 0.03, 3, float(random.integers(1000)))
        canvas.drawPath(page, skia.Paint(Shader=noise, Alphaf=0.5))
    elif kind == "disc":
        canvas.clear(skia.ColorWHITE)
        disc = oval(pixels / 2, pixels / 2, pixels * 0.49, pixels * 0.49)
        canvas.drawPath(disc, skia.Paint(AntiAlias=True, Color4f=skia.Color4f(*one, 1)))
