"""Fills and lines in a style, drawn with skia."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import skia

from recipes.drawn.character import Color, Style

Point = tuple[float, float]

WHITE: Color = (1.0, 1.0, 1.0)
BLACK: Color = (0.05, 0.05, 0.07)


class Pen:
    """Draws on a canvas whose unit is half a head's height."""

    def __init__(self, canvas: skia.Canvas, style: Style, random: np.random.Generator) -> None:
        self.canvas = canvas
        self.style = style
        self.random = random
        self._smooth = not style.pixels

    def fill(self, path: skia.Path, color: Color, alpha: float = 1.0, outline: bool = False) -> None:
        """Fill a shape, with the outline of the style if it has one. Pure line drawings stay white."""
        flat = mixed(color, WHITE, 0.96) if self.style.shading == "line" and luminance(color) > 0.12 else color
        self.canvas.drawPath(path, self._paint(flat, alpha))
        if outline and self.style.line:
            self.line(path, self.style.line, self.ink(color))

    def line(self, path: skia.Path, width: float, color: Color | None = None, alpha: float = 1.0) -> None:
        """Draw along a path."""
        paint = self._paint(self.style.ink if color is None else color, alpha)
        paint.setStyle(skia.Paint.kStroke_Style)
        paint.setStrokeWidth(width)
        paint.setStrokeCap(skia.Paint.kRound_Cap)
        paint.setStrokeJoin(skia.Paint.kRound_Join)
        if self.style.wobble:
            deviation = 0.012 * self.style.wobble
            paint.setPathEffect(skia.DiscretePathEffect.Make(0.09, deviation, int(self.random.integers(2**31))))
        self.canvas.drawPath(path, paint)

    def glow(self, path: skia.Path, color: Color, middle: Point, radius: float, strength: float) -> None:
        """Fill a shape with a color that fades out from a point."""
        shader = skia.GradientShader.MakeRadial(
            skia.Point(*middle), radius, [_skia(color, strength).toColor(), _skia(color, 0.0).toColor()]
        )
        self.canvas.drawPath(path, skia.Paint(AntiAlias=self._smooth, Shader=shader))

    def ink(self, fill: Color) -> Color:
        """Return the color of a line around a fill."""
        return mixed(fill, BLACK, 0.6) if self.style.colored_ink else self.style.ink

    @contextmanager
    def within(self, path: skia.Path) -> Iterator[None]:
        """Draw only inside a shape."""
        self.canvas.save()
        self.canvas.clipPath(path, skia.ClipOp.kIntersect, self._smooth)
        yield
        self.canvas.restore()

    @contextmanager
    def at(self, x: float, y: float, mirrored: bool = False, turned: float = 0.0, stretch: float = 1.0) -> Iterator[None]:
        """Draw around another origin, mirrored left to right, turned by degrees, widened."""
        self.canvas.save()
        self.canvas.translate(x, y)
        self.canvas.rotate(turned)
        self.canvas.scale(-stretch if mirrored else stretch, 1)
        yield
        self.canvas.restore()

    def _paint(self, color: Color, alpha: float) -> skia.Paint:
        return skia.Paint(AntiAlias=self._smooth, Color4f=_skia(color, alpha))


def oval(x: float, y: float, width: float, height: float) -> skia.Path:
    """Return an ellipse around a point; `width` and `height` are half axes."""
    return skia.Path().addOval(skia.Rect(x - width, y - height, x + width, y + height))


def polygon(points: Iterable[Point], closed: bool = True) -> skia.Path:
    """Return a path of straight lines through points."""
    return skia.Path.Polygon([skia.Point(*point) for point in points], closed)


def curve(start: Point, *parts: Sequence[Point], closed: bool = False) -> skia.Path:
    """Return a curve with parts of one (line), two (quadratic) or three (cubic) points."""
    path = skia.Path()
    path.moveTo(*start)
    for part in parts:
        numbers = [number for point in part for number in point]
        (path.lineTo, path.quadTo, path.cubicTo)[len(part) - 1](*numbers)
    if closed:
        path.close()
    return path


def mixed(one: Color, other: Color, share: float) -> Color:
    """Mix a share of another color into a color."""
    red, green, blue = (a + (b - a) * share for a, b in zip(one, other, strict=True))
    return red, green, blue


def luminance(color: Color) -> float:
    """Return the perceived lightness of a color, 0-1."""
    return 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2]


def _skia(color: Color, alpha: float) -> skia.Color4f:
    return skia.Color4f(*color, alpha)
