"""The language of the column `layers`, and the drawing that it describes.

    PATH                            the image PATH
    PATH | PATH                     the second image on the first
    PATH :: cell 0 128 64 64        the cell of a sheet at 0, 128 that is 64 pixels wide and high
    PATH :: size 231 243            the image, scaled to this width and height
    PATH :: at 508 94               the image, moved to the right and down
    PATH :: tee angry 0.7 0         a tee with the skin PATH, by `tees.py`

Several words after `::` are separated by commas and done in order. An SVG is drawn 512 pixels wide and high.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache

from PIL import Image

from recipes.sprites.repositories import ReadFile
from recipes.sprites.tees import draw_tee

_SVG_SIDE = 512

ReadImage = Callable[[str], Image.Image]
"""Return an image as RGBA, by its path in the repository."""


def image_reader(read: ReadFile, folder: str) -> ReadImage:
    """Return the function that decodes the images in a folder of a repository; it remembers the latest 64."""

    @lru_cache(maxsize=64)
    def read_image(path: str) -> Image.Image:
        data = read(f"{folder}/{path}" if folder else path)
        if path.endswith(".svg"):
            data = _rasterize(data)
        with Image.open(io.BytesIO(data)) as image:
            return image.convert("RGBA")

    return read_image


def draw(layers: str, read_image: ReadImage) -> Image.Image:
    """Draw the layers of an image. Raises ValueError for a word that the language does not have."""
    drawing: Image.Image | None = None
    for layer in layers.split(" | "):
        path, _, words = layer.partition(" :: ")
        image, corner = _edit(read_image(path), words)
        if drawing is None:
            drawing = image.copy()
        else:
            drawing.alpha_composite(image, corner)
    if drawing is None:
        raise ValueError("An image has no layers.")
    return drawing


def _edit(image: Image.Image, words: str) -> tuple[Image.Image, tuple[int, int]]:
    """Do the words after `::`; return the image and its left top corner."""
    corner = (0, 0)
    for command in filter(None, words.split(", ")):
        match command.split():
            case ["cell", left, top, width, height]:
                x, y = int(left), int(top)
                image = image.crop((x, y, x + int(width), y + int(height)))
            case ["size", width, height]:
                image = image.resize((int(width), int(height)), Image.Resampling.BICUBIC)
            case ["at", left, top]:
                corner = int(left), int(top)
            case ["tee", expression, x, y]:
                image = draw_tee(image, expression, (float(x), float(y)))
            case _:
                raise ValueError(f"The layers cannot be read at {command!r}.")
    return image, corner


def _rasterize(svg: bytes) -> bytes:
    try:
        import cairosvg
    except ImportError as error:
        raise SystemExit("These sets are drawings in SVG: run pip install cairosvg.") from error
    png: bytes = cairosvg.svg2png(bytestring=svg, output_width=_SVG_SIDE, output_height=_SVG_SIDE)
    return png
