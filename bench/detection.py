"""Measure recall and precision of the face detector on composed scenes.

    python bench/detection.py CUTOUTS [--detector FILE] [--artist NAME]... [--scenes N] [--output FILE]
        [--sheet FILE]

The detector must not have seen the artists. CUTOUTS is a folder that `recipes/faces/render.mjs --cut-out` and `things.mjs` have
written. Artists are those of its sets.csv; without `--artist`, all are used. A face counts as detected if the intersection over
union with a box is at least 0.5; each box counts for one face. `--detector animeface` measures that package instead, if it is
installed with a Pillow older than 12.
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
from recipes.detector.scenes import Objects, Scene, compose  # noqa: E402

ANIMEFACE = "animeface"

SCENE_SIDE = 512
"""Pixels. Scenes are larger than the detector's input, as most images are."""

MIN_IOU = 0.5
SIZE_BOUNDS = (0.0, 0.08, 0.15, 0.3, 0.6, 9.0)
"""Bounds of a face's longer side as a share of the scene, for recall by size."""

Detect = Callable[[Sequence[np.ndarray]], list[list[Face]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cutouts", type=Path)
    parser.add_argument("--detector", metavar="FILE", help=f"weights, or {ANIMEFACE!r}; default: the shipped detector")
    parser.add_argument("--artist", action="append", default=[])
    parser.add_argument("--scenes", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    heads = [head for head in load_heads(options.cutouts) if not options.artist or head.artist in options.artist]
    objects = Objects(load_things(options.cutouts))
    scenes = []
    for number in range(options.scenes):
        random = np.random.default_rng((options.seed, number))
        scenes.append(compose(random, [heads[int(random.integers(len(heads)))] for _ in range(8)], objects, SCENE_SIDE))
    is_animeface = options.detector == ANIMEFACE
    detect = animeface_detector() if is_animeface else moodex_detector(Path(options.detector) if options.detector else None)
    detect([scenes[0].pixels])
    started = time.perf_counter()
    detected = detect([scene.pixels for scene in scenes])
    seconds = time.perf_counter() - started
    result = {
        "detector": ANIMEFACE if is_animeface else "moodex",
        "artists": sorted({head.artist for head in heads}),
        "scenes": len(scenes),
        "faces": sum(len(scene.boxes) for scene in scenes),
        **measure(scenes, detected),
        "milliseconds_a_scene": round(1000 * seconds / len(scenes), 2),
        "machine": f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}",
    }
    print(json.dumps(result, indent=2))
    if options.output:
        options.output.write_text(json.dumps(result, indent=2) + "\n")
    if options.sheet:
        draw_sheet(scenes, detected).save(options.sheet)


def moodex_detector(path: Path | None) -> Detect:
    """Open the detector of a file, or the shipped one."""
    from models.faces.card import SHIPPED
    from models.faces.detector import torch_face_detector

    return torch_face_detector(path or SHIPPED, "cpu").detect


def animeface_detector() -> Detect:
    """Open the detector of the package animeface."""
    import animeface

    def detect_in(pixels: np.ndarray) -> list[Face]:
        faces = []
        for candidate in animeface.detect(Image.fromarray(pixels)):
            box = candidate.face.pos
            edges = (box.x, box.y, box.x + box.width, box.y + box.height)
            left, top, right, bottom = (min(1.0, max(0.0, edge / SCENE_SIDE)) for edge in edges)
            if left < right and top < bottom:
                faces.append(Face(left, top, right, bottom, float(candidate.likelihood)))
        return faces

    return lambda pages: [detect_in(page) for page in pages]


def measure(scenes: Sequence[Scene], detected: Sequence[Sequence[Face]]) -> dict[str, object]:
    """Compute recall, also by size, precision, and average precision.

    Recall and precision are those at the detector's own threshold. The average precision is over all thresholds above it.
    """
    matches: list[tuple[float, bool]] = []
    sizes, box_detected = [], []
    for scene, faces in zip(scenes, detected, strict=True):
        free = list(range(len(scene.boxes)))
        taken = set()
        for face in sorted(faces, key=lambda face: -face.probability):
            box = np.array([face.left, face.top, face.right, face.bottom]) * SCENE_SIDE
            best = max(free, key=lambda row: iou(box, scene.boxes[row]), default=None)
            is_match = best is not None and iou(box, scene.boxes[best]) >= MIN_IOU
            if is_match and best is not None:
                free.remove(best)
                taken.add(best)
            matches.append((face.probability, is_match))
        for row, box in enumerate(scene.boxes):
            sizes.append(float(max(box[2] - box[0], box[3] - box[1])) / SCENE_SIDE)
            box_detected.append(row in taken)
    matches.sort(reverse=True)
    match_counts = np.cumsum([is_match for _, is_match in matches])
    precision = match_counts / np.arange(1, len(match_counts) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    recall_steps = np.diff(np.concatenate([[0], match_counts])) / max(1, len(box_detected))
    by_size = {}
    for low, high in pairwise(SIZE_BOUNDS):
        in_range = [is_detected for is_detected, size in zip(box_detected, sizes, strict=True) if low <= size < high]
        by_size[f"{low:g} to {high:g}" if high < 1 else f"{low:g} and more"] = {
            "faces": len(in_range),
            "recall": round(float(np.mean(in_range)), 4) if in_range else None,
        }
    return {
        "recall": round(float(np.mean(box_detected)), 4),
        "precision": round(float(precision[-1]), 4) if matches else None,
        "average_precision": round(float((envelope * recall_steps).sum()), 4),
        "recall_by_size": by_size,
    }


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over union of two boxes."""
    width, height = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    common = max(0.0, float(width)) * max(0.0, float(height))
    return common / float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - common)


def draw_sheet(scenes: Sequence[Scene], detected: Sequence[Sequence[Face]], columns: int = 8, rows: int = 5) -> Image.Image:
    """Draw the first scenes with their boxes in white and the detected faces in red."""
    side = 220
    sheet = Image.new("RGB", (columns * side, rows * side), (128, 128, 128))
    for number, (scene, faces) in enumerate(list(zip(scenes, detected, strict=True))[: columns * rows]):
        page = Image.fromarray(scene.pixels).copy()
        draw = ImageDraw.Draw(page)
        for box in scene.boxes:
            draw.rectangle(tuple(float(edge) for edge in box), outline=(255, 255, 255), width=4)
        for face in faces:
            edges = tuple(edge * SCENE_SIDE for edge in (face.left, face.top, face.right, face.bottom))
            draw.rectangle(edges, outline=(230, 20, 20), width=3)
        sheet.paste(page.resize((side - 4, side - 4)), ((number % columns) * side, (number // columns) * side))
    return sheet


if __name__ == "__main__":
    main()
