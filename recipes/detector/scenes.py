"""Scenes with face boxes: cut-outs at any scale and position on any background, among objects without faces."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from recipes.detector.cutouts import Box, Cutout

Random = np.random.Generator
Color = tuple[int, int, int]

_HEAD_COUNT_SHARES = {0: 0.1, 1: 0.38, 2: 0.16, 3: 0.12, 4: 0.08, 5: 0.06, 6: 0.05, 8: 0.05}
"""Shares of the scenes by their number of heads."""

_BODY_SHARE = 0.3
"""Share of bodies among objects, if there are any."""

_BARE_WITH_BODY_SHARE = 0.5
"""Share of the bare heads that get a body."""

_SHEET_SHARE = 0.06
"""Share of the scenes that are sheets: rows and columns of a few heads, as in sticker sheets."""

_MAX_SHEET_ROWS = 11

_MIN_HEAD_PIXELS = 11.0
"""Shorter side of the smallest head that a scene contains."""


class Scene(NamedTuple):
    """A scene: `pixels`, uint8, (side, side, 3); `boxes`, float32, (M, 4): left, top, right, bottom in pixels, all inside."""

    pixels: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Objects:
    """RGBA drawings without a face: `things`, and `bodies` of figures below their heads."""

    things: Sequence[Image.Image]
    bodies: Sequence[Image.Image] = ()

    def pick(self, random: Random) -> Image.Image:
        """Draw a thing or, with the probability `_BODY_SHARE`, a body or the upper part of one."""
        if not self.bodies or random.random() >= _BODY_SHARE:
            return self.things[int(random.integers(len(self.things)))]
        body = self.pick_body(random)
        height = min(body.height, round(body.width * float(random.uniform(0.7, 1.3))))
        return body.crop((0, 0, body.width, height)) if random.random() < 0.5 else body

    def pick_body(self, random: Random) -> Image.Image:
        """Draw a body, in its colors or in others."""
        body = self.bodies[int(random.integers(len(self.bodies)))]
        return _recolored(random, body) if random.random() < 0.5 else body


def compose(random: Random, heads: Sequence[Cutout], objects: Objects, side: int) -> Scene:
    """Compose a scene of some of the `heads`, of which there must be eight, and of objects.

    Two of five scenes are not square; white bars then fill the square.
    """
    aspect = float(np.exp(random.uniform(-0.8, 0.8))) if random.random() < 0.4 else 1.0
    width, height = (side, max(24, round(side / aspect))) if aspect >= 1 else (max(24, round(side * aspect)), side)
    page = background(random, objects, width, height)
    boxes: list[Box] = []
    for _ in range(int(random.integers(0, 5)) if random.random() < 0.6 else 0):
        paste_thing(random, page, objects, float(np.exp(random.uniform(math.log(0.06), math.log(0.6)))))
    if random.random() < _SHEET_SHARE:
        _sheet(random, page, heads, boxes)
    else:
        count = int(random.choice(list(_HEAD_COUNT_SHARES), p=list(_HEAD_COUNT_SHARES.values())))
        for head in heads[:count]:
            _paste_head(random, page, head, boxes, objects, alone=count == 1)
    if random.random() < 0.12:
        paste_thing(random, page, objects, float(random.uniform(0.04, 0.14)))
    if random.random() < 0.15:
        _bubble(random, page)
    page = finish(random, page)
    square = Image.new("RGB", (side, side), (255, 255, 255))
    left, top = (side - width) // 2, (side - height) // 2
    square.paste(page, (left, top))
    inside = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    inside[:, 0::2] = inside[:, 0::2].clip(0, width) + left
    inside[:, 1::2] = inside[:, 1::2].clip(0, height) + top
    return Scene(np.asarray(square), inside)


def _paste_head(random: Random, page: Image.Image, head: Cutout, boxes: list[Box], objects: Objects, alone: bool) -> None:
    least, most = (0.1, 1.15) if alone else (0.07, 0.5)
    across = max(head.box[2] - head.box[0], head.box[3] - head.box[1])
    for _ in range(10):
        # Half of the single heads fill the image, as in avatars; of figures a quarter do.
        if alone and random.random() < (0.25 if head.is_figure else 0.5):
            share = float(random.uniform(0.45, most))
        else:
            share = float(np.exp(random.uniform(math.log(least), math.log(most))))
        scale = share * min(page.size) / across
        angle = float(random.normal(0, 9)) if random.random() < 0.85 else float(random.uniform(-60, 60))
        mirrored = bool(random.random() < 0.5)
        middle = _random_center(random, page.size, share)
        if head.is_figure and random.random() < 0.5:
            scale, middle = _show_whole(random, page.size, head, scale, middle)
        box = _turned(head.box, scale, angle, middle)
        if _visible_share(box, page.size) < 0.72 or min(box[2] - box[0], box[3] - box[1]) < _MIN_HEAD_PIXELS:
            continue
        if any(_overlap(box, other) > 0.12 for other in boxes):
            continue
        if head.is_figure and any(_overlap(_extent(head, scale, angle, mirrored, middle), other) > 0.2 for other in boxes):
            continue  # its body would hide another head
        if head.bare and random.random() < _BARE_WITH_BODY_SHARE and not any(_overlap(_below(box), other) > 0 for other in boxes):
            _body(random, page, box, objects)
        _paste(page, head.image, head.box, scale, angle, mirrored, middle)
        boxes.append(box)
        return


def _sheet(random: Random, page: Image.Image, heads: Sequence[Cutout], boxes: list[Box]) -> None:
    """Fill a page with rows and columns of some of the heads, all of the same size."""
    cell = max(page.size) / int(random.integers(2, _MAX_SHEET_ROWS + 1))
    side = max(_MIN_HEAD_PIXELS + 1, cell * float(random.uniform(0.55, 0.98)))
    own = heads[: int(random.integers(1, len(heads) + 1))]
    for row in range(int(page.height / cell)):
        for column in range(int(page.width / cell)):
            if random.random() < 0.04:
                continue
            head = own[int(random.integers(len(own)))]
            scale = side / max(head.box[2] - head.box[0], head.box[3] - head.box[1])
            middle = ((column + 0.5) * cell, (row + 0.5) * cell)
            box = _turned(head.box, scale, 0.0, middle)
            mirrored = bool(random.random() < 0.2)
            if min(box[2] - box[0], box[3] - box[1]) < _MIN_HEAD_PIXELS or _visible_share(box, page.size) < 0.72:
                continue
            if head.is_figure:
                head = _bust(head)
            _paste(page, head.image, head.box, scale, 0.0, mirrored, middle)
            boxes.append(box)


def _bust(figure: Cutout) -> Cutout:
    """Return a figure without what is below its head, so that it hides nothing in the next row."""
    return replace(figure, image=figure.image.crop((0, 0, figure.image.width, min(figure.image.height, round(figure.box[3])))))


def _show_whole(
    random: Random, size: tuple[int, int], figure: Cutout, scale: float, middle: tuple[float, float]
) -> tuple[float, tuple[float, float]]:
    """Return a scale and a center of the head with which the page shows a figure from head to foot."""
    scale = min(scale, size[1] / figure.image.height * float(random.uniform(0.9, 1.0)))
    free = size[1] - figure.image.height * scale
    y = (figure.box[1] + figure.box[3]) / 2 * scale + free * float(random.uniform(0.5, 1.0))
    return scale, (float(np.clip(middle[0], 0.2 * size[0], 0.8 * size[0])), y)


def _extent(head: Cutout, scale: float, angle: float, mirrored: bool, middle: tuple[float, float]) -> Box:
    """Return the box around a whole drawing, scaled and then rotated, with the center of its head at `middle`."""
    x, y = (head.box[0] + head.box[2]) / 2, (head.box[1] + head.box[3]) / 2
    sides = (-x, head.image.width - x)
    horizontal = [-side if mirrored else side for side in sides]
    vertical = (-y, head.image.height - y)
    cos, sin = math.cos(math.radians(angle)) * scale, math.sin(math.radians(angle)) * scale
    corners = [(cos * u - sin * v, sin * u + cos * v) for u in horizontal for v in vertical]
    left, right = min(u for u, _ in corners), max(u for u, _ in corners)
    top, bottom = min(v for _, v in corners), max(v for _, v in corners)
    return (middle[0] + left, middle[1] + top, middle[0] + right, middle[1] + bottom)


def _random_center(random: Random, size: tuple[int, int], share: float) -> tuple[float, float]:
    spread = 0.12 if share > 0.6 else 0.5
    return (
        size[0] * float(np.clip(0.5 + random.uniform(-spread, spread), 0, 1)),
        size[1] * float(np.clip(0.5 + random.uniform(-spread, spread), 0, 1)),
    )


def paste_thing(
    random: Random,
    page: Image.Image,
    objects: Objects,
    share: float,
    middle: tuple[float, float] | None = None,
) -> None:
    """Paste an object, whose longer side is `share` of the page's shorter one, anywhere or with its center at `middle`."""
    image = objects.pick(random)
    scale = share * min(page.size) / max(image.size)
    middle = middle or (float(random.uniform(0, page.width)), float(random.uniform(0, page.height)))
    angle = float(random.normal(0, 30))
    _paste(page, image, (0, 0, image.width, image.height), scale, angle, bool(random.random() < 0.5), middle)


def _paste(
    page: Image.Image, image: Image.Image, box: Box, scale: float, angle: float, mirrored: bool, middle: tuple[float, float]
) -> None:
    """Paste an image, scaled and then rotated, with the center of its box at `middle`."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    if mirrored:
        image, x = ImageOps.mirror(image), image.width - x
    shrink = max(1, int(1 / scale / 1.3))
    if shrink > 1:
        image, x, y, scale = image.reduce(shrink), x / shrink, y / shrink, scale * shrink
    cos, sin = math.cos(math.radians(angle)) / scale, math.sin(math.radians(angle)) / scale
    reach = math.hypot(image.width, image.height) * scale
    left, top = max(0, int(middle[0] - reach)), max(0, int(middle[1] - reach))
    right, bottom = min(page.width, int(middle[0] + reach) + 1), min(page.height, int(middle[1] + reach) + 1)
    if right <= left or bottom <= top:
        return
    dx, dy = left - middle[0], top - middle[1]
    inverse = (cos, sin, cos * dx + sin * dy + x, -sin, cos, -sin * dx + cos * dy + y)
    turned = image.transform((right - left, bottom - top), Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR)
    page.paste(turned, (left, top), turned)


def _turned(box: Box, scale: float, angle: float, middle: tuple[float, float]) -> Box:
    """Return the box around a rotated head, as if it were an ellipse."""
    a, b = (box[2] - box[0]) / 2 * scale, (box[3] - box[1]) / 2 * scale
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    half = (math.hypot(a * cos, b * sin), math.hypot(a * sin, b * cos))
    return (middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1])


def _visible_share(box: Box, size: tuple[int, int]) -> float:
    """Return the share of a box that is on the page."""
    width = min(box[2], size[0]) - max(box[0], 0)
    height = min(box[3], size[1]) - max(box[1], 0)
    return max(0, width) * max(0, height) / ((box[2] - box[0]) * (box[3] - box[1]))


def _overlap(one: Box, other: Box) -> float:
    """Return the intersection of two boxes as a share of the smaller one."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return max(0, width) * max(0, height) / smaller


def _below(head: Box) -> Box:
    """Return the box in which the body of a head may be drawn."""
    width, height = head[2] - head[0], head[3] - head[1]
    return (head[0] - width, head[3] - 0.1 * height, head[2] + width, head[3] + 7 * height)


def _body(random: Random, page: Image.Image, head: Box, objects: Objects) -> None:
    """Draw a body below a bare head: that of a figure, or a trunk, perhaps with limbs, in proportions from chibi to adult."""
    if objects.bodies and random.random() < 0.6:
        body = objects.pick_body(random)
        scale = (head[3] - head[1]) * float(random.uniform(0.9, 2.6)) / body.width
        top = head[3] - 0.06 * (head[3] - head[1])
        middle = ((head[0] + head[2]) / 2, top + scale * body.height / 2)
        _paste(page, body, (0, 0, body.width, body.height), scale, 0.0, bool(random.random() < 0.5), middle)
        return
    draw = ImageDraw.Draw(page)
    height = head[3] - head[1]
    x, top = (head[0] + head[2]) / 2, head[3] - 0.08 * height
    tall, wide = height * float(random.uniform(0.4, 3.5)), height * float(random.uniform(0.3, 0.9))
    cloth, limb = _color(random), _color(random)
    ink = (20, 20, 20) if random.random() < 0.5 else None
    width = max(2, int(height * float(random.uniform(0.08, 0.22))))
    if random.random() < 0.8:
        for side in (-1, 1):
            hand = (x + side * wide * float(random.uniform(0.5, 1.3)), top + tall * float(random.uniform(-0.1, 0.8)))
            draw.line([(x + side * wide * 0.35, top + 0.15 * tall), hand], fill=limb, width=width)
            foot = (x + side * wide * float(random.uniform(0.1, 0.6)), top + tall * float(random.uniform(1.2, 1.9)))
            draw.line([(x + side * wide * 0.2, top + 0.8 * tall), foot], fill=limb, width=width)
    trunk = (x - wide / 2, top, x + wide / 2, top + tall)
    if random.random() < 0.5:
        draw.rounded_rectangle(trunk, radius=min(wide, tall) / 3, fill=cloth, outline=ink)
    else:
        draw.ellipse(trunk, fill=cloth, outline=ink)


def _bubble(random: Random, page: Image.Image) -> None:
    """Draw a speech bubble, or a box, with scribbled text."""
    draw = ImageDraw.Draw(page)
    wide, tall = (float(random.uniform(0.12, 0.35)) * size for size in page.size)
    left, top = float(random.uniform(0, page.width - wide)), float(random.uniform(0, page.height * 0.4))
    shape = draw.ellipse if random.random() < 0.7 else draw.rectangle
    shape((left, top, left + wide, top + tall), fill=(255, 255, 255), outline=(0, 0, 0))
    for row in range(1, 4):
        y = top + tall * (0.2 + row * 0.17)
        stops = np.sort(random.uniform(left + 0.2 * wide, left + 0.8 * wide, 6))
        for start, end in zip(stops[::2], stops[1::2], strict=True):
            draw.line([(float(start), y), (float(end), y)], fill=(0, 0, 0), width=1)


def background(random: Random, objects: Objects, width: int, height: int) -> Image.Image:
    """Draw a background: paper, a color, a pattern, many objects, or the panels of a comic."""
    kind = str(random.choice(list(_BACKGROUNDS), p=list(_BACKGROUNDS.values())))
    page = Image.new("RGB", (width, height), (255, 255, 255) if kind in ("white", "panels") else _color(random))
    match kind:
        case "gradient":
            ramp = Image.linear_gradient("L").rotate(float(random.choice([0, 90, 180, 270]))).resize((width, height))
            return ImageOps.colorize(ramp, _color(random), _color(random))
        case "noise":
            cells = int(random.integers(3, 40))
            grain = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
            return Image.blend(page, grain.resize((width, height), Image.Resampling.BICUBIC), float(random.random()))
        case "shapes":
            draw = ImageDraw.Draw(page)
            for _ in range(int(random.integers(4, 30))):
                _shape(random, draw, width, height)
        case "dots" | "stripes":
            _pattern(random, page, kind)
        case "things":
            for _ in range(int(random.integers(4, 20))):
                paste_thing(random, page, objects, float(random.uniform(0.1, 0.5)))
        case "panels":
            _panels(random, page)
    return page


_BACKGROUNDS = {
    "white": 0.16,
    "flat": 0.2,
    "gradient": 0.1,
    "shapes": 0.14,
    "noise": 0.12,
    "dots": 0.06,
    "stripes": 0.06,
    "things": 0.1,
    "panels": 0.06,
}


def _pattern(random: Random, page: Image.Image, kind: str) -> None:
    draw, fill, step = ImageDraw.Draw(page), _color(random), int(random.integers(4, 24))
    for x in range(0, page.width + page.height, step):
        if kind == "stripes":
            draw.line([(x, 0), (x - page.height, page.height)], fill=fill, width=max(1, step // 3))
            continue
        for y in range(0, page.height, step):
            draw.ellipse((x, y, x + step // 2, y + step // 2), fill=fill)


def _panels(random: Random, page: Image.Image) -> None:
    """Draw the panels of a comic."""
    draw = ImageDraw.Draw(page)
    rows, columns = int(random.integers(1, 4)), int(random.integers(1, 4))
    for row in range(rows):
        for column in range(columns):
            left, top = page.width * column / columns + 2, page.height * row / rows + 2
            fill = _color(random) if random.random() < 0.5 else (255, 255, 255)
            frame = (left, top, left + page.width / columns - 4, top + page.height / rows - 4)
            draw.rectangle(frame, fill=fill, outline=(0, 0, 0), width=2)


def _shape(random: Random, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    x, y = float(random.uniform(0, width)), float(random.uniform(0, height))
    size = float(np.exp(random.uniform(math.log(4), math.log(width))))
    fill = _color(random)
    outline = (0, 0, 0) if random.random() < 0.4 else None
    match int(random.integers(4)):
        case 0:
            draw.ellipse((x - size / 2, y - size / 2, x + size / 2, y + size * float(random.uniform(0.2, 0.6))), fill, outline)
        case 1:
            draw.rectangle((x - size / 2, y - size / 3, x + size / 2, y + size / 3), fill, outline)
        case 2:
            angles = np.sort(random.random(int(random.integers(3, 7)))) * 2 * math.pi
            corners = [(x + size / 2 * math.cos(angle), y + size / 2 * math.sin(angle)) for angle in angles]
            draw.polygon(corners, fill, outline)
        case _:
            ends = [
                (float(random.uniform(0, width)), float(random.uniform(0, height))) for _ in range(int(random.integers(2, 5)))
            ]
            draw.line(ends, fill, width=int(random.integers(1, 8)), joint="curve")


def finish(random: Random, page: Image.Image) -> Image.Image:
    """Degrade a drawing: gray, other colors, few tones, blur, grain, JPEG."""
    if random.random() < 0.25:
        page = page.convert("L").convert("RGB")
    elif random.random() < 0.3:
        hue, saturation, value = page.convert("HSV").split()
        turn = int(random.integers(256))
        page = Image.merge("HSV", (hue.point(lambda h: (h + turn) % 256), saturation, value)).convert("RGB")
    if random.random() < 0.3:
        gamma = float(random.uniform(0.5, 1.8))
        page = page.point(lambda v: round(255 * (v / 255) ** gamma))
    if random.random() < 0.1:
        page = ImageOps.posterize(page, int(random.integers(2, 5)))
    if random.random() < 0.04:
        page = page.convert("1").convert("RGB")
    if random.random() < 0.15:
        page = page.filter(ImageFilter.GaussianBlur(float(random.uniform(0.3, 1.2))))
    if random.random() < 0.2:
        small = tuple(max(16, int(side * float(random.uniform(0.4, 0.9)))) for side in page.size)
        page = page.resize(small, Image.Resampling.BOX).resize(page.size, Image.Resampling.BICUBIC)  # type: ignore[arg-type]
    if random.random() < 0.15:
        grain = random.normal(0, float(random.uniform(2, 14)), (page.height, page.width, 1))
        page = Image.fromarray((np.asarray(page) + grain).clip(0, 255).astype(np.uint8))
    if random.random() < 0.35:
        data = BytesIO()
        page.save(data, "JPEG", quality=int(random.integers(15, 95)))
        page = Image.open(data).convert("RGB")
    return page


def _recolored(random: Random, image: Image.Image) -> Image.Image:
    """Return an RGBA image with all hues turned by the same angle, and another saturation."""
    hue, saturation, value = image.convert("RGB").convert("HSV").split()
    turn, factor = int(random.integers(256)), float(random.uniform(0, 1.5))
    turned = Image.merge("HSV", (hue.point(lambda h: (h + turn) % 256), saturation.point(lambda s: min(255, s * factor)), value))
    turned = turned.convert("RGB")
    turned.putalpha(image.getchannel("A"))
    return turned


def _color(random: Random) -> Color:
    red, green, blue = colorsys.hsv_to_rgb(random.random(), random.random() ** 1.5, float(random.uniform(0.1, 1)))
    return round(red * 255), round(green * 255), round(blue * 255)
