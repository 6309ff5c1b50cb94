"""Measure how well the face detector finds the heads of sprites, whose faces are known from what changes between expressions.

    python bench/sprite_heads.py SPRITES [--model FILE] [--detector FILE] [--detector-only] [--output FILE] [--sheet FILE]
        [--describe]

The faces are those that indexing keeps: the classifier drops boxes that it takes for none. `--detector-only` counts all boxes.

SPRITES is a folder of sets with `regions.csv`, as recipes/detector/sprites.py describes. A box is the head if it contains the
middle of the region, and its longer side is between 0.7 and 4.5 times the longer side of the region: a head is about 2.2 times as
wide. `--output` writes FILE.json and FILE.md. `--sheet` draws the images whose largest box is not the head.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.machine import machine  # noqa: E402
from indexer.analysis.analyzer import Analyzer  # noqa: E402
from indexer.domain.images import Face  # noqa: E402
from models import zoo  # noqa: E402
from models.faces.card import SHIPPED  # noqa: E402
from models.faces.detector import torch_face_detector  # noqa: E402
from models.inference.classifier import TorchClassifier  # noqa: E402

MIN_SIDES, MAX_SIDES = 0.7, 4.5
"""Bounds of the longer side of a head, in longer sides of its region."""

CROPPED_SUFFIX = "_bust"
SHEET_COLUMNS, TILE_PIXELS = 10, 200


@dataclass(frozen=True, slots=True)
class Sprite:
    """An image with the region of its face: left, top, right, bottom in shares of the sides."""

    path: Path
    region: tuple[float, float, float, float]


@dataclass(slots=True)
class Tally:
    """Images of a set by what the detector found, and the number of boxes that are not the head."""

    images: int = 0
    found: int = 0
    largest: int = 0
    none: int = 0
    others: int = 0

    def shares(self) -> dict[str, float]:
        """Return each number divided by the number of images."""
        return {name: round(count / self.images, 3) for name, count in asdict(self).items() if name != "images"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sprites", type=Path)
    parser.add_argument("--model", type=Path, default=zoo.checkpoints()[zoo.DEFAULT])
    parser.add_argument("--detector", type=Path, default=SHIPPED)
    parser.add_argument("--detector-only", action="store_true")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--describe", action="store_true", help="write the result on the card of the shipped detector")
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    detector = torch_face_detector(options.detector, "cpu")
    analyzer = Analyzer(TorchClassifier.open(options.model, "cpu"), detector)
    tallies: dict[str, Tally] = {}
    missed: list[tuple[Image.Image, Sequence[Face]]] = []
    for sprite in read_sprites(options.sprites):
        tally = tallies.setdefault(sprite.path.relative_to(options.sprites).parts[0], Tally())
        decoded = analyzer.decode(sprite.path.read_bytes())
        image = Image.fromarray(decoded.pixels)
        if options.detector_only:
            (faces,) = detector.detect([decoded.pixels])
        else:
            (predictions,) = analyzer.predict([decoded])
            faces = [prediction.face for prediction in predictions or () if prediction.face]
        is_head = [is_the_head(face, sprite.region, image.size) for face in faces]
        tally.images += 1
        tally.found += any(is_head)
        tally.largest += bool(is_head) and is_head[0]
        tally.none += not faces
        tally.others += len(faces) - sum(is_head)
        if not is_head or not is_head[0]:
            missed.append((image, faces))
    result = {
        "machine": machine(),
        "command": "python bench/sprite_heads.py SPRITES" + (" --detector-only" if options.detector_only else ""),
        "detector": options.detector.stem,
        "sets": {name: {"images": tally.images, **tally.shares()} for name, tally in tallies.items()},
        "all": {"images": sum(tally.images for tally in tallies.values()), **total(tallies.values()).shares()},
    }
    print(json.dumps(result["all"]))
    if options.output:
        options.output.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
        options.output.with_suffix(".md").write_text(page(result))
    if options.describe:
        describe(result)
    if options.sheet and missed:
        draw_sheet(missed).save(options.sheet)


def describe(result: dict[str, object]) -> None:
    """Write the shares of all images on the card of the shipped detector."""
    path = SHIPPED.with_suffix(".json")
    card = json.loads(path.read_text())
    shares: dict[str, float] = result["all"]  # type: ignore[assignment]
    card["about"]["measured"] = {"on": "sprites by artists that no training has seen", **shares}
    path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n")


def read_sprites(folder: Path) -> Iterator[Sprite]:
    """Yield every image with a region, except crops of other sets."""
    for regions in sorted(folder.glob("vn_*/regions.csv")):
        if regions.parent.name.endswith(CROPPED_SUFFIX):
            continue
        with regions.open(newline="") as file:
            for row in csv.DictReader(file):
                region = (float(row["left"]), float(row["top"]), float(row["right"]), float(row["bottom"]))
                yield Sprite(regions.parent / row["file"], region)


def is_the_head(face: Face, region: tuple[float, float, float, float], size: tuple[int, int]) -> bool:
    """Return whether a box is the head of a region, in an image of that size."""
    left, top, right, bottom = region
    x, y = (left + right) / 2, (top + bottom) / 2
    is_inside = face.left <= x <= face.right and face.top <= y <= face.bottom
    region_side = max((right - left) * size[0], (bottom - top) * size[1])
    face_side = max((face.right - face.left) * size[0], (face.bottom - face.top) * size[1])
    return is_inside and MIN_SIDES * region_side <= face_side <= MAX_SIDES * region_side


def total(tallies: Iterable[Tally]) -> Tally:
    """Add up tallies."""
    result = Tally()
    for tally in tallies:
        for name, count in asdict(tally).items():
            setattr(result, name, getattr(result, name) + count)
    return result


def page(result: dict[str, object]) -> str:
    """Return the result as Markdown."""
    sets: dict[str, dict[str, float]] = result["sets"]  # type: ignore[assignment]
    rows = [*sorted(sets.items()), ("all", result["all"])]
    lines = [
        "# Heads of sprites",
        "",
        f"`{result['command']}` on {result['machine']}, detector {result['detector']}. Shares of the",
        "images: with a box on the head, with the head as the largest box, without any box; and boxes an image that are not the",
        "head.",
        "",
        "| set | images | found | largest is the head | none | other boxes |",
        "|---" * 6 + "|",
    ]
    for name, row in rows:
        shares: dict[str, float] = row  # type: ignore[assignment]
        numbers = " | ".join(f"{shares[key]:.2f}" for key in ("found", "largest", "none", "others"))
        lines.append(f"| {name} | {shares['images']} | {numbers} |")
    return "\n".join(lines) + "\n"


def draw_sheet(missed: Sequence[tuple[Image.Image, Sequence[Face]]]) -> Image.Image:
    """Draw images with their boxes in rows."""
    rows = -(-len(missed) // SHEET_COLUMNS)
    sheet = Image.new("RGB", (SHEET_COLUMNS * TILE_PIXELS, rows * TILE_PIXELS), (255, 255, 255))
    for number, (image, faces) in enumerate(missed):
        tile = image.copy()
        draw = ImageDraw.Draw(tile)
        for face in faces:
            box = (face.left * tile.width, face.top * tile.height, face.right * tile.width, face.bottom * tile.height)
            draw.rectangle(box, outline=(255, 0, 0), width=max(2, tile.width // 100))
        tile.thumbnail((TILE_PIXELS - 4, TILE_PIXELS - 4))
        sheet.paste(tile, (number % SHEET_COLUMNS * TILE_PIXELS, number // SHEET_COLUMNS * TILE_PIXELS))
    return sheet


if __name__ == "__main__":
    main()
