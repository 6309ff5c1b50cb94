"""How many drawn faces are found, and how much else: composed scenes with artists that the detector has never seen.

    python bench/detection.py CUTOUTS [--detector FILE] [--artist NAME]... [--scenes N] [--output FILE] [--describe]
        [--sheet FILE]

CUTOUTS is what `recipes/faces/render.mjs --cut-out` and `things.mjs` wrote. Artists are those of its sets.csv; without any, all.
A face is detected if the intersection over union with a box is at least 0.5; each box counts for one face.
`--describe` puts the result on the card of the shipped detector; `--detector animeface` measures that package instead, if
it is installed with a Pillow older than 12.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from indexer.domain.images import Face  # noqa: E402
from recipes.detector.cutouts import load_heads, load_things  # noqa: E402
from recipes.detector.scenes import Scene, compose  # noqa: E402

SIDE = 512
"""Scenes are larger than the detector's input, as pictures are."""

SAME = 0.5
SIZES = (0.0, 0.08, 0.15, 0.3, 0.6, 9.0)
"""Bounds of a face's longer side as a share of the scene, for recall by size."""

Find = Callable[[Sequence[np.ndarray]], list[list[Face]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cutouts", type=Path)
    parser.add_argument("--detector", type=Path)
    parser.add_argument("--detector", choices=["ours", "animeface"], default="ours")
    parser.add_argument("--artist", action="append", default=[])
    parser.add_argument("--scenes", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--describe", action="store_true")
    options = parser.parse_args()
    heads = [head for head in load_heads(options.cutouts) if not options.artist or head.artist in options.artist]
    things = load_things(options.cutouts)
    scenes = []
    for number in range(options.scenes):
        random = np.random.default_rng((options.seed, number))
        scenes.append(compose(random, [heads[int(random.integers(len(heads)))] for _ in range(8)], things, SIDE))
    find = ours(options.detector) if options.detector == "ours" else animeface()
    find([scenes[0].pixels])
    started = time.perf_counter()
    found = find([scene.pixels for scene in scenes])
    seconds = time.perf_counter() - started
    result = {
        "detector": options.detector,
        "artists": sorted({head.artist for head in heads}),
        "scenes": len(scenes),
        "faces": sum(len(scene.boxes) for scene in scenes),
        **measure(scenes, found),
        "milliseconds_a_scene": round(1000 * seconds / len(scenes), 2),
        "machine": f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}",
    }
    print(json.dumps(result, indent=2))
    if options.output:
        options.output.write_text(json.dumps(result, indent=2) + "\n")
    if options.describe:
        describe(result)
    if options.sheet:
        draw_sheet(scenes, found).save(options.sheet)


def describe(result: dict[str, object]) -> None:
    """Put what was measured on the card of the shipped detector, which is trained in the same way, on all artists."""
    from models.faces.card import SHIPPED

    path = SHIPPED.with_suffix(".json")
    card = json.loads(path.read_text())
    names = ("artists", "scenes", "faces", "recall", "precision", "average_precision")
    card["about"]["measured"] = {"on": "artists held out", **{name: result[name] for name in names}}
    path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n")


def ours(detector: Path | None) -> Find:
    from models.faces.card import SHIPPED
    from models.faces.detector import torch_face_detector

    return torch_face_detector(detector or SHIPPED, "cpu").find


def animeface() -> Find:
    import animeface as package

    def one(pixels: np.ndarray) -> list[Face]:
        faces = []
        for answer in package.detect(Image.fromarray(pixels)):
            place = answer.face.pos
            edges = (place.x, place.y, place.x + place.width, place.y + place.height)
            left, top, right, bottom = (min(1.0, max(0.0, edge / SIDE)) for edge in edges)
            if left < right and top < bottom:
                faces.append(Face(left, top, right, bottom, float(answer.likelihood)))
        return faces

    return lambda pages: [one(page) for page in pages]


def measure(scenes: Sequence[Scene], found: Sequence[Sequence[Face]]) -> dict[str, object]:
    """Recall, also by size, and precision at the detector's own threshold; average precision over all thresholds above it."""
    right: list[tuple[float, bool]] = []
    sizes, hit = [], []
    for scene, faces in zip(scenes, found, strict=True):
        free = list(range(len(scene.boxes)))
        taken = set()
        for face in sorted(faces, key=lambda face: -face.probability):
            box = np.array([face.left, face.top, face.right, face.bottom]) * SIDE
            best = max(free, key=lambda row: overlap(box, scene.boxes[row]), default=None)
            good = best is not None and overlap(box, scene.boxes[best]) >= SAME
            if good and best is not None:
                free.remove(best)
                taken.add(best)
            right.append((face.probability, good))
        for row, box in enumerate(scene.boxes):
            sizes.append(float(max(box[2] - box[0], box[3] - box[1])) / SIDE)
            hit.append(row in taken)
    right.sort(reverse=True)
    good = np.cumsum([one for _, one in right])
    precision = good / np.arange(1, len(good) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(np.concatenate([[0], good])) / max(1, len(hit))
    by_size = {}
    for low, high in pairwise(SIZES):
        here = [one for one, size in zip(hit, sizes, strict=True) if low <= size < high]
        by_size[f"{low:g} to {high:g}" if high < 1 else f"{low:g} and more"] = {
            "faces": len(here),
            "recall": round(float(np.mean(here)), 4) if here else None,
        }
    return {
        "recall": round(float(np.mean(hit)), 4),
        "precision": round(float(precision[-1]), 4) if right else None,
        "average_precision": round(float((envelope * steps).sum()), 4),
        "recall_by_size": by_size,
    }


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    width, height = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    common = max(0.0, float(width)) * max(0.0, float(height))
    return common / float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - common)


def draw_sheet(scenes: Sequence[Scene], found: Sequence[Sequence[Face]], columns: int = 8, rows: int = 5) -> Image.Image:
    """The first scenes: what is there in white, what was found in red."""
    side = 220
    sheet = Image.new("RGB", (columns * side, rows * side), (128, 128, 128))
    for number, (scene, faces) in enumerate(list(zip(scenes, found, strict=True))[: columns * rows]):
        page = Image.fromarray(scene.pixels).copy()
        draw = ImageDraw.Draw(page)
        for box in scene.boxes:
            draw.rectangle(tuple(float(edge) for edge in box), outline=(255, 255, 255), width=4)
        for face in faces:
            place = tuple(edge * SIDE for edge in (face.left, face.top, face.right, face.bottom))
            draw.rectangle(place, outline=(230, 20, 20), width=3)
        sheet.paste(page.resize((side - 4, side - 4)), ((number % columns) * side, (number // columns) * side))
    return sheet


if __name__ == "__main__":
    main()
