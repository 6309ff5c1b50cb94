"""Draw faces of random characters, each with every emotion.

    python -m recipes.drawn.make build/drawn [--characters N] [--seed N] [--side PIXELS] [--cut-out]

The program writes SET/EMOTION/CHARACTER_EMOTION_NUMBER.png, with one set for each kind of eyes; `boxes.csv` with the box of every
head; and `sets.csv`, which has the same artist for all sets. The same seed gives the same images.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from recipes.drawn.character import EYES, invent
from recipes.drawn.expression import PROTOTYPES, express
from recipes.drawn.image import draw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--characters", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", type=int, default=160, help="width and height of an image in pixels")
    parser.add_argument("--cut-out", action="store_true", help="draw on a transparent background")
    options = parser.parse_args()
    make(options.folder, options.characters, options.seed, options.side, options.cut_out)


def make(folder: Path, characters: int, seed: int, side: int, cut_out: bool = False) -> None:
    """Draw a number of characters into a folder, `side` pixels wide and high."""
    for kind in EYES:
        for emotion in PROTOTYPES:
            (folder / f"drawn-{kind}" / emotion).mkdir(parents=True, exist_ok=True)
    with (folder / "sets.csv").open("w", newline="") as file:
        facts = ((f"drawn-{kind}", "moodex", "Apache-2.0", "drawn by moodex", "recipes/drawn") for kind in EYES)
        csv.writer(file).writerows((("set", "artist", "licence", "credit", "url"), *facts))
    draw_one = partial(draw_character, folder=folder, side=side, seed=seed, cut_out=cut_out)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context) as pool, (folder / "boxes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "left", "top", "right", "bottom"))
        for rows in pool.map(draw_one, range(characters), chunksize=4):
            writer.writerows(rows)


def draw_character(number: int, folder: Path, side: int, seed: int, cut_out: bool) -> list[tuple[str, ...]]:
    """Draw one character with every emotion; return paths and boxes."""
    random = np.random.default_rng((seed, number))
    character, style = invent(random)
    if cut_out:
        style = replace(style, background="none")
    rows = []
    for emotion in PROTOTYPES:
        image, box = draw(character, style, express(emotion, random), side, random)
        path = Path(f"drawn-{style.eyes}", emotion, f"c{number:05}_{emotion}_1.png")
        image.save(folder / path)
        rows.append((path.as_posix(), *(f"{part:.4f}" for part in box)))
    return rows


if __name__ == "__main__":
    main()
