"""Measure emotions in drawings by artists that no training has seen, as `moodex index` predicts them.

    python bench/unseen_artists.py VALIDATION [--model FILE] [--detector FILE] [--faces on|off] [--former FILE.json]
        [--output FILE] [--mistakes FILE.png] [--describe]

VALIDATION holds sets with `manifest.csv` (file, label, character). The prediction for an image is that of its largest face, or of
the whole image if it has none, with the analyzer that indexing uses. Sets whose names begin with the same word of `POOLS` are
pooled; the intervals of a pool are over its sets (artists), by the bootstrap. `--former` adds the numbers of an earlier run.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.describe import describe  # noqa: E402
from bench.machine import machine  # noqa: E402
from indexer.analysis.analyzer import Analyzer  # noqa: E402
from models import zoo  # noqa: E402
from models.faces.card import SHIPPED  # noqa: E402
from models.faces.detector import torch_face_detector  # noqa: E402
from models.inference.classifier import TorchClassifier  # noqa: E402
from models.training.metrics import MIN_PROBABILITY, calibration_error  # noqa: E402
from models.training.model_card_markdown import unseen_artists  # noqa: E402

FIVE = ("happy", "sad", "angry", "surprise", "neutral")
CHILDREN = {"happy": ("happy", "pleased"), "sad": ("sad", "crying")}
"""Emotions that a search for an emotion also finds."""

POOLS = {"vn_": "visual novels", "eval_fedi_": "animal emoji"}
FIRST = 20
MIN_SET_IMAGES = 10
"""Images of the five emotions that a set needs to count in a mean over sets."""

RESAMPLES = 1000
BATCH_SIZE = 32
PRIOR_FACES = 1.0
"""Average faces that are added to those of a character; see `beside_character`."""

Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True)
class Judged:
    """One image: its set, label, character, path, the probabilities by label number, and whether a face was found."""

    set: str
    label: str
    character: str
    path: Path
    probabilities: Floats
    has_face: bool


def main() -> None:
    options = _arguments()
    classifier = TorchClassifier.open(options.model, "cpu")
    detector = torch_face_detector(options.detector, "cpu") if options.faces == "on" else None
    judged = judge(options.validation, Analyzer(classifier, detector))
    labels = classifier.card.labels
    result = {
        "command": "python bench/unseen_artists.py VALIDATION" + ("" if options.faces == "on" else " --faces off"),
        "machine": machine(),
        "model": options.model.stem,
        "groups": {name: measure(images, labels) for name, images in pools(judged).items()},
        "sets": {name: measure(images, labels) for name, images in by_set(judged).items()},
    }
    former = json.loads(options.former.read_text()) if options.former else None
    print(page(result, former))
    if options.output:
        options.output.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
        options.output.with_suffix(".md").write_text(page(result, former))
    if options.describe:
        describe(options.model, {"unseen": {name: result[name] for name in ("command", "machine", "groups")}})
    if options.mistakes:
        draw_mistakes(judged, labels).save(options.mistakes)


def judge(folder: Path, analyzer: Analyzer) -> list[Judged]:
    """Analyze every image that a manifest below the folder lists."""
    rows = []
    for manifest in sorted(folder.glob("*/manifest.csv")):
        with manifest.open(newline="") as file:
            for row in csv.DictReader(file):
                rows.append((manifest.parent, row["file"], row["label"], row.get("character") or ""))
    judged = []
    for start in range(0, len(rows), BATCH_SIZE):
        batch = rows[start : start + BATCH_SIZE]
        decoded = [analyzer.decode((parent / file).read_bytes()) for parent, file, _, _ in batch]
        for (parent, file, label, character), predictions in zip(batch, analyzer.predict(decoded), strict=True):
            if predictions is None:
                raise SystemExit(f"The predictions for {parent / file} are not finite.")
            probabilities = np.array(predictions[0].probabilities, dtype=np.float32)
            judged.append(Judged(parent.name, label, character, parent / file, probabilities, predictions[0].face is not None))
    return judged


def pools(judged: Sequence[Judged]) -> dict[str, list[Judged]]:
    """Group images by pool; sets outside the pools are groups of their own."""
    groups: dict[str, list[Judged]] = {}
    for image in judged:
        name = next((pool for start, pool in POOLS.items() if image.set.startswith(start)), image.set)
        groups.setdefault(name, []).append(image)
    return groups


def by_set(judged: Sequence[Judged]) -> dict[str, list[Judged]]:
    """Group images by set."""
    groups: dict[str, list[Judged]] = {}
    for image in judged:
        groups.setdefault(image.set, []).append(image)
    return groups


def measure(images: Sequence[Judged], labels: Sequence[str]) -> dict[str, Any]:
    """Measure a group of images.

    - `five`: balanced accuracy over the five emotions that occur, with guesses among them; `five_interval`: 95%, over sets.
    - `five_mean_of_sets`: mean accuracy over sets with enough images.
    - `five_beside_character`: `five` with `beside_character`.
    - `first_20`: share of right images among the first of a search for each emotion.
    - `ece`: calibration error over all labels; `none`: share of images without an emotion; `face`: share with a face.
    """
    probabilities = np.stack([image.probabilities for image in images])
    truth = np.array([labels.index(image.label) for image in images])
    sets = np.array([image.set for image in images])
    characters = [f"{image.set}/{image.character}" if image.character else "" for image in images]
    five = [number for number, label in enumerate(labels) if label in FIVE and (truth == number).any()]
    counted = np.isin(truth, five)
    right = _right(probabilities, truth, five)
    beside = _right(beside_character(probabilities, characters), truth, five)
    names = sorted(set(sets.tolist()))
    means = [right[rows].mean() for name in names if (rows := counted & (sets == name)).sum() >= MIN_SET_IMAGES]
    random = np.random.default_rng(0)
    resampled = []
    for _ in range(RESAMPLES if len(names) > 1 else 0):
        drawn = random.choice(names, len(names))
        rows = np.concatenate([np.flatnonzero(counted & (sets == name)) for name in drawn])
        resampled.append(_balanced(right[rows], truth[rows]))
    interval = [round(float(np.quantile(resampled, share)), 3) for share in (0.025, 0.975)] if resampled else None
    return {
        "images": len(images),
        "five": round(_balanced(right[counted], truth[counted]), 3),
        "five_interval": interval,
        "five_mean_of_sets": round(float(np.mean(means)), 3) if means else None,
        "five_beside_character": round(_balanced(beside[counted], truth[counted]), 3),
        "first_20": {emotion: first_right(probabilities, truth, labels, emotion) for emotion in FIVE},
        "ece": round(calibration_error(probabilities, truth), 3),
        "none": round(float(np.mean([labels[row.argmax()] == "none" for row in probabilities])), 3),
        "face": round(float(np.mean([image.has_face for image in images])), 3),
        "confusion": confusion(probabilities, truth, five, labels),
    }


def beside_character(probabilities: Floats, characters: Sequence[str]) -> Floats:
    """Return log-probabilities minus the mean of the character's images, which is drawn to the mean of all.

    This shows what the other expressions of a character, as the artist groups them, tell about an image.
    """
    logits = np.log(probabilities + MIN_PROBABILITY)
    mean = logits.mean(axis=0)
    beside = logits.copy()
    for name in set(characters) - {""}:
        rows = [row for row, character in enumerate(characters) if character == name]
        if len(rows) > 1:
            beside[rows] -= (logits[rows] - mean).sum(axis=0) / (len(rows) + PRIOR_FACES)
    return beside


def first_right(probabilities: Floats, truth: np.ndarray[Any, Any], labels: Sequence[str], emotion: str) -> float | None:
    """Return the share of right images among the first of `search --emotion`; None if the emotion does not occur."""
    numbers = [labels.index(name) for name in CHILDREN.get(emotion, (emotion,)) if name in labels]
    wanted = np.isin(truth, numbers)
    predicted = np.flatnonzero(np.isin(probabilities.argmax(axis=1), numbers))
    if not wanted.any():
        return None
    first = predicted[np.argsort(-probabilities[predicted].max(axis=1), kind="stable")][:FIRST]
    return round(float(wanted[first].sum() / min(FIRST, wanted.sum())), 3)


def confusion(
    probabilities: Floats, truth: np.ndarray[Any, Any], numbers: Sequence[int], labels: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Count images by true and predicted label, both among `numbers`."""
    guesses = np.array(numbers)[probabilities[:, numbers].argmax(axis=1)]
    return {
        labels[true]: {labels[guess]: int(((truth == true) & (guesses == guess)).sum()) for guess in numbers} for true in numbers
    }


def _right(scores: Floats, truth: np.ndarray[Any, Any], numbers: Sequence[int]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which images are classified as their label, with guesses among `numbers`."""
    right: np.ndarray[Any, np.dtype[np.bool_]] = np.array(numbers)[scores[:, numbers].argmax(axis=1)] == truth
    return right


def _balanced(right: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> float:
    return float(np.mean([right[truth == label].mean() for label in np.unique(truth)]))


def page(result: dict[str, Any], former: dict[str, Any] | None) -> str:
    """Return the result as Markdown; with `former`, each number of the groups after the former one."""
    lines = [
        "# Emotions in drawings by artists that no training has seen",
        "",
        f"Model {result['model']}.",
        "",
        *unseen_artists(result, former),
        "",
        "| artist | images | five | beside the character | ECE | face |",
        "|---" * 6 + "|",
    ]
    for name, row in result["sets"].items():
        numbers = " | ".join(f"{row[key]:.2f}" for key in ("five", "five_beside_character", "ece", "face"))
        lines.append(f"| {name} | {row['images']} | {numbers} |")
    return "\n".join(lines) + "\n"


def draw_mistakes(judged: Sequence[Judged], labels: Sequence[str]) -> Image.Image:
    """Draw the most confident mistakes on visual novels, with the label of the artist and the prediction."""
    wrong = [image for image in judged if image.set.startswith("vn_") and labels[image.probabilities.argmax()] != image.label]
    wrong.sort(key=lambda image: -float(image.probabilities.max()))
    side, columns = 150, 10
    sheet = Image.new("RGB", (columns * side, 8 * side), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for number, image in enumerate(wrong[: 8 * columns]):
        with Image.open(image.path) as opened:
            tile = opened.convert("RGBA")
        tile.thumbnail((side - 4, side - 20))
        x, y = number % columns * side, number // columns * side
        sheet.paste(tile, (x, y), tile)
        draw.text((x, y + side - 14), f"{image.label} > {labels[image.probabilities.argmax()]}", fill=(200, 0, 0))
    return sheet


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--model", type=Path, default=zoo.checkpoints()[zoo.DEFAULT])
    parser.add_argument("--detector", type=Path, default=SHIPPED)
    parser.add_argument("--faces", choices=("on", "off"), default="on")
    parser.add_argument("--former", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--mistakes", type=Path)
    parser.add_argument("--describe", action="store_true", help="write the result on the card and its page in docs/")
    return parser.parse_args()


if __name__ == "__main__":
    main()
