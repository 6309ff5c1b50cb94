"""Measure how often people read the emotion that the artist named from a drawn face: the ceiling for a classifier.

    python bench/readers.py sheets VALIDATION FOLDER [--context] [--seed N]
    python bench/readers.py score FOLDER ANSWERS...

`sheets` draws faces of visual novels, as many of each of five emotions, from the regions that `regions.csv` lists, and writes
numbered sheets and the key, `key.csv`. With `--context`, other expressions of the character are beside each face, without labels.
A reader sees the sheets only and writes a CSV file (number, emotion). `score` compares the answers with the key.
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

EMOTIONS = ("happy", "sad", "angry", "surprise", "neutral")
FACES_PER_EMOTION = 20
FACE_SIDE, CONTEXT_SIDE = 200, 110
HEAD_SCALE = 2.2
"""Side of a face in sheets, as a multiple of the part that changes between expressions."""

MAX_CONTEXT = 5
ROWS = 5
"""Faces in a column of a sheet."""

WHITE = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Drawing:
    """A labeled drawing: `box` has the left, top, right and bottom edge of the changing part, as shares of the sides."""

    path: Path
    label: str
    character: str
    box: tuple[float, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    sheets = commands.add_parser("sheets")
    sheets.add_argument("validation", type=Path)
    sheets.add_argument("folder", type=Path)
    sheets.add_argument("--context", action="store_true")
    sheets.add_argument("--seed", type=int, default=0)
    scoring = commands.add_parser("score")
    scoring.add_argument("folder", type=Path)
    scoring.add_argument("answers", type=Path, nargs="+")
    options = parser.parse_args()
    if options.command == "sheets":
        write_sheets(options.validation, options.folder, options.context, options.seed)
    else:
        print(json.dumps(score(options.folder / "key.csv", options.answers), indent=1))


def write_sheets(validation: Path, folder: Path, context: bool, seed: int) -> None:
    """Write sheets of `2 * ROWS` faces and the key."""
    drawings = read_drawings(validation)
    chosen = choose(drawings, np.random.default_rng(seed))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "key.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("number", "emotion", "file"), *((n, one.label, one.path) for n, one in enumerate(chosen, 1))]
        )
    width = FACE_SIDE + 40 + (MAX_CONTEXT * CONTEXT_SIDE if context else 0)
    for first in range(0, len(chosen), 2 * ROWS):
        sheet = Image.new("RGB", (2 * width, ROWS * (FACE_SIDE + 10)), WHITE)
        for place, drawing in enumerate(chosen[first : first + 2 * ROWS]):
            x, y = place // ROWS * width, place % ROWS * (FACE_SIDE + 10)
            ImageDraw.Draw(sheet).text((x + 4, y + 4), str(first + place + 1), fill=(0, 0, 0))
            sheet.paste(head(drawing, FACE_SIDE), (x + 34, y))
            for column, other in enumerate(others(drawing, drawings) if context else []):
                sheet.paste(head(other, CONTEXT_SIDE - 6), (x + FACE_SIDE + 40 + column * CONTEXT_SIDE, y + 45))
        sheet.save(folder / f"sheet-{first // (2 * ROWS) + 1:02}.png")


def read_drawings(validation: Path) -> list[Drawing]:
    """Return the drawings of visual novels that have a region and one of the emotions."""
    drawings = []
    for manifest in sorted(validation.glob("vn_*/manifest.csv")):
        regions = manifest.with_name("regions.csv")
        if not regions.exists():
            continue
        with regions.open(newline="") as file:
            boxes = {
                row["file"]: tuple(float(row[side]) for side in ("left", "top", "right", "bottom"))
                for row in csv.DictReader(file)
            }
        with manifest.open(newline="") as file:
            for row in csv.DictReader(file):
                if row["file"] in boxes:
                    character = f"{manifest.parent.name}/{row.get('character') or ''}"
                    drawings.append(Drawing(manifest.parent / row["file"], row["label"], character, boxes[row["file"]]))
    return drawings


def choose(drawings: list[Drawing], random: np.random.Generator) -> list[Drawing]:
    """Draw as many faces of each emotion, from as many artists as possible, in random order."""
    chosen: list[Drawing] = []
    for emotion in EMOTIONS:
        own = [drawing for drawing in drawings if drawing.label == emotion]
        taken: dict[str, int] = {}
        order = [own[n] for n in random.permutation(len(own))]
        for drawing in sorted(order, key=lambda one: _turn(one, taken)):
            chosen.append(drawing)
            if sum(one.label == emotion for one in chosen) == FACES_PER_EMOTION:
                break
    return [chosen[n] for n in random.permutation(len(chosen))]


def _turn(drawing: Drawing, taken: dict[str, int]) -> int:
    """Return the number of drawings by the same artist up to this one."""
    artist = drawing.path.parts[-3]
    taken[artist] = taken.get(artist, 0) + 1
    return taken[artist]


def others(drawing: Drawing, drawings: list[Drawing]) -> list[Drawing]:
    """Return other expressions of a character, at most `MAX_CONTEXT`, each with another label if possible."""
    own = [one for one in drawings if one.character == drawing.character and one.path != drawing.path]
    order = sorted(own, key=lambda one: (sum(other.label == one.label for other in own[: own.index(one)]), str(one.path)))
    return order[:MAX_CONTEXT]


def head(drawing: Drawing, side: int) -> Image.Image:
    """Cut out the square head of a drawing, on white."""
    with Image.open(drawing.path) as opened:
        image = opened.convert("RGBA")
    left, top, right, bottom = (share * size for share, size in zip(drawing.box, (image.width, image.height) * 2, strict=True))
    half = HEAD_SCALE * max(right - left, bottom - top) / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    page = Image.new("RGBA", image.size, (*WHITE, 255))
    page.alpha_composite(image)
    box = tuple(round(edge) for edge in (x - half, y - half, x + half, y + half))
    tile = Image.new("RGB", (box[2] - box[0], box[3] - box[1]), WHITE)
    tile.paste(page.convert("RGB"), (-box[0], -box[1]))
    return tile.resize((side, side), Image.Resampling.LANCZOS)


def score(key: Path, answers: list[Path]) -> dict[str, Any]:
    """Return the share of right answers by emotion and their mean, for each reader."""
    with key.open(newline="") as file:
        truth = {row["number"]: row["emotion"] for row in csv.DictReader(file)}
    results = {}
    for path in answers:
        with path.open(newline="") as file:
            given = {row["number"].strip(): row["emotion"].strip() for row in csv.DictReader(file)}
        right = {
            emotion: round(float(np.mean([given.get(n) == emotion for n, label in truth.items() if label == emotion])), 3)
            for emotion in EMOTIONS
        }
        results[path.stem] = {**right, "five": round(float(np.mean(list(right.values()))), 3), "faces": len(truth)}
    return results


if __name__ == "__main__":
    main()
