"""Make images without a face, labeled `none`: from them, the classifier learns that there may be nothing to tell.

    python -m recipes.detector.empty build/cutouts build/empty [--sprites FOLDER] [--images N] [--seed N]

One in three shows a single object, one in five a body without its head; the others are the backgrounds of the detector's scenes
with some objects, and pages of text. The same arguments give the same images.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from recipes.detector.cutouts import load_things
from recipes.detector.scenes import Objects, Random, background, finish, paste_thing
from recipes.detector.sprites import bodies, load_sprites

SIDE = 256
_LETTERS = "etaoin shrdlu cmfwyp vbgkqjxz .,!? 0123456789"
_KINDS = {"thing": 0.34, "body": 0.2, "scene": 0.26, "plain": 0.08, "text": 0.12}
_SOURCE = "things without a face, bodies without a head, and patterns by recipes/detector"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cutouts", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--sprites", type=Path)
    parser.add_argument("--images", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    objects = Objects(load_things(options.cutouts), bodies(load_sprites(options.sprites)) if options.sprites else [])
    for number in range(options.images):
        random = np.random.default_rng((options.seed, number))
        kind = str(random.choice(list(_KINDS), p=list(_KINDS.values())))
        path = options.output / f"empty_{kind}" / "none" / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(random, kind, objects).save(path)
    with (options.output / "sets.csv").open("w", newline="") as file:
        rows = [[f"empty_{kind}", "moodex", "Apache-2.0", _SOURCE, "recipes/detector"] for kind in _KINDS]
        csv.writer(file).writerows([["set", "artist", "licence", "credit", "url"], *rows])


def draw(random: Random, kind: str, objects: Objects) -> Image.Image:
    """Draw an image of one of `_KINDS`; RGB, with `SIDE` pixels on its longer side."""
    aspect = float(np.exp(random.uniform(-0.7, 0.7))) if random.random() < 0.5 else 1.0
    width, height = (SIDE, max(64, round(SIDE / aspect))) if aspect >= 1 else (max(64, round(SIDE * aspect)), SIDE)
    match kind:
        case "thing" | "body":
            page = Image.new("RGB", (width, height), (255, 255, 255))
            if random.random() < 0.4:
                page = background(random, objects, width, height)
            own = Objects(objects.things if kind == "thing" or not objects.bodies else objects.bodies)
            paste_thing(random, page, own, float(random.uniform(0.5, 1.0)), middle=(width / 2, height / 2))
        case "plain":
            color = tuple(int(level) for level in random.integers(0, 256, 3)) if random.random() < 0.6 else (255, 255, 255)
            return Image.new("RGB", (width, height), color)
        case "text":
            page = _text(random, width, height)
        case _:
            page = background(random, objects, width, height)
            for _ in range(int(random.integers(0, 6))):
                paste_thing(random, page, objects, float(random.uniform(0.1, 0.6)))
    return finish(random, page)


def _text(random: Random, width: int, height: int) -> Image.Image:
    """Draw lines of letters in one size, perhaps on a color."""
    paper = tuple(int(level) for level in random.integers(150, 256, 3)) if random.random() < 0.5 else (255, 255, 255)
    page = Image.new("RGB", (width, height), paper)
    size = float(random.uniform(8, 64))
    font = ImageFont.load_default(size)
    drawing = ImageDraw.Draw(page)
    for y in np.arange(float(random.uniform(0, size)), height, size * 1.3):
        letters = "".join(random.choice(list(_LETTERS), int(random.integers(2, 40))))
        drawing.text((float(random.uniform(0, width / 4)), float(y)), letters, fill=(20, 20, 20), font=font)
    return page


if __name__ == "__main__":
    main()
