"""Measure emotions in drawings by artists that no training has seen, as `moodex index` predicts them.

    python bench/unseen_artists.py VALIDATION [--model FILE] [--detector FILE] [--faces on|off] [--former FILE.json]
        [--output FILE] [--mistakes FILE.png] [--describe]

VALIDATION holds sets with `manifest.csv` (file, label, character). The prediction for an image is that of its largest face, or of
the whole image if it has none, with the analyzer that indexing uses: alone, and beside its look-alikes in a library of its group.
Sets whose names begin with the same word of `POOLS` are one group; its intervals are over its sets (artists), by the bootstrap.
`--former` adds the numbers of an earlier run.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.describe import describe  # noqa: E402
from bench.machine import machine  # noqa: E402
from bench.retrieval import same_character  # noqa: E402
from indexer.analysis.analyzer import Analyzer  # noqa: E402
from indexer.domain.look_alikes import LEAST_SIMILARITY, MOST_LOOK_ALIKES, read_beside, weights  # noqa: E402
from indexer.domain.models import APPEARANCE, NEARLY_EQUAL_IN_SPACES, ModelCard  # noqa: E402
from models import zoo  # noqa: E402
from models.faces.card import SHIPPED  # noqa: E402
from models.faces.detector import torch_face_detector  # noqa: E402
from models.inference.classifier import TorchClassifier  # noqa: E402
from models.inference.embedding_scorer import EmbeddingScorer, open_scorer  # noqa: E402
from models.training.metrics import calibration_error  # noqa: E402
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
DRAWS = 100
"""Times that labels are drawn from the predicted probabilities, for the calibration error of a perfectly calibrated model."""

Floats = np.ndarray[Any, np.dtype[np.float32]]
Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Judged:
    """One image: its set, label, character, path, probabilities by label number, embedding, and whether a face was found."""

    set: str
    label: str
    character: str
    path: Path
    probabilities: Floats
    embedding: Floats
    has_face: bool


@dataclass(frozen=True, slots=True)
class Compared:
    """An image with its `probabilities` beside its look-alikes."""

    judged: Judged
    probabilities: Floats


def main() -> None:
    options = _arguments()
    classifier = TorchClassifier.open(options.model, "cpu")
    detector = torch_face_detector(options.detector, "cpu") if options.faces == "on" else None
    judged = judge(options.validation, Analyzer(classifier, detector))
    labels, scorer = classifier.card.labels, open_scorer(options.model)
    groups = {name: beside_look_alikes(images, scorer) for name, images in pools(judged).items()}
    result = {
        "command": "python bench/unseen_artists.py VALIDATION" + ("" if options.faces == "on" else " --faces off"),
        "machine": machine(),
        "model": options.model.stem,
        "groups": {
            name: {**measure(images, labels), "same_character": find_character(images, scorer.card)}
            for name, images in groups.items()
        },
        "sets": {name: measure(images, labels) for name, images in by_set(itertools.chain(*groups.values())).items()},
    }
    former = json.loads(options.former.read_text()) if options.former else None
    print(page(result, former))
    if options.output:
        options.output.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
        options.output.with_suffix(".md").write_text(page(result, former))
    if options.describe:
        describe(options.model, {"unseen": {name: result[name] for name in ("command", "machine", "groups")}})
    if options.mistakes:
        draw_mistakes(list(itertools.chain(*groups.values())), labels).save(options.mistakes)


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
            embedding = np.array(predictions[0].embedding, dtype=np.float32)
            has_face = predictions[0].face is not None
            judged.append(Judged(parent.name, label, character, parent / file, probabilities, embedding, has_face))
    return judged


def pools(judged: Sequence[Judged]) -> dict[str, list[Judged]]:
    """Group images by pool; sets outside the pools are groups of their own."""
    groups: dict[str, list[Judged]] = {}
    for image in judged:
        name = next((pool for start, pool in POOLS.items() if image.set.startswith(start)), image.set)
        groups.setdefault(name, []).append(image)
    return groups


def by_set(images: Iterable[Compared]) -> dict[str, list[Compared]]:
    """Group images by set."""
    groups: dict[str, list[Compared]] = {}
    for image in images:
        groups.setdefault(image.judged.set, []).append(image)
    return groups


def beside_look_alikes(images: Sequence[Judged], scorer: EmbeddingScorer) -> list[Compared]:
    """Read each image beside its look-alikes among the others, as a run does; see `indexer.analysis.look_alikes`."""
    vectors = np.stack([image.embedding for image in images])
    looks = vectors[:, scorer.card.space_slice(APPEARANCE)]
    similarity = looks @ looks.T
    similarity[vectors @ vectors.T / 2 >= NEARLY_EQUAL_IN_SPACES] = -1
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :MOST_LOOK_ALIKES]
    owners, columns = np.nonzero(np.take_along_axis(similarity, nearest, axis=1) >= LEAST_SIMILARITY)
    look_alikes = nearest[owners, columns]
    logits = scorer.logits(vectors.astype(np.float16))
    beside = read_beside(logits, logits[look_alikes], weights(similarity[owners, look_alikes]), owners, scorer.mean_logits)
    return [Compared(image, probabilities) for image, probabilities in zip(images, beside, strict=True)]


def measure(images: Sequence[Compared], labels: Sequence[str]) -> dict[str, Any]:
    """Measure a group of images: `alone`, and `beside` their look-alikes. Also:

    - `none`: share of images without an emotion; `face`: share with a face, both alone.
    """
    truth = np.array([labels.index(image.judged.label) for image in images])
    sets = np.array([image.judged.set for image in images])
    alone = np.stack([image.judged.probabilities for image in images])
    beside = np.stack([image.probabilities for image in images])
    return {
        "images": len(images),
        "alone": accuracies(alone, truth, sets, labels),
        "beside": accuracies(beside, truth, sets, labels),
        "none": round(float(np.mean([labels[row.argmax()] == "none" for row in alone])), 3),
        "face": round(float(np.mean([image.judged.has_face for image in images])), 3),
    }


def find_character(images: Sequence[Compared], card: ModelCard) -> dict[str, Any] | None:
    """Search each character with another emotion in a library of the group; return the hit rates at 1 and at 10.

    The results have that emotion by the artist's labels (`labels`), or by the predictions beside look-alikes (`predictions`); a
    hit has it by the labels. A search for an emotion also finds its `CHILDREN`. None if no character has two emotions.
    """
    parents = {child: parent for parent, children in CHILDREN.items() for child in children}
    numbers = np.array([card.labels.index(parents.get(label, label)) for label in card.labels])
    truth = numbers[[card.labels.index(image.judged.label) for image in images]]
    predicted = numbers[np.stack([image.probabilities for image in images]).argmax(axis=1)]
    looks = np.stack([image.judged.embedding[card.space_slice(APPEARANCE)] for image in images])
    characters = [f"{image.judged.set}/{image.judged.character}" if image.judged.character else "" for image in images]
    by_labels = same_character(looks, truth, truth, characters)
    return by_labels and {"labels": by_labels, "predictions": same_character(looks, predicted, truth, characters)}


def accuracies(probabilities: Floats, truth: Numbers, sets: np.ndarray[Any, Any], labels: Sequence[str]) -> dict[str, Any]:
    """Measure predictions.

    - `five`: balanced accuracy over the five emotions that occur, with guesses among them; `five_interval`: 95%, over sets.
    - `five_mean_of_sets`: mean accuracy over sets with enough images.
    - `first_20`: share of right images among the first of a search for each emotion.
    - `ece`: calibration error over all labels; `ece_by_chance`: that of a perfectly calibrated model with as many images.
    - `confusion`: images by true and predicted emotion of the five.
    """
    five = [number for number, label in enumerate(labels) if label in FIVE and (truth == number).any()]
    counted = np.isin(truth, five)
    right = _right(probabilities, truth, five)
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
        "five": round(_balanced(right[counted], truth[counted]), 3),
        "five_interval": interval,
        "five_mean_of_sets": round(float(np.mean(means)), 3) if means else None,
        "first_20": {emotion: first_right(probabilities, truth, labels, emotion) for emotion in FIVE},
        "ece": round(calibration_error(probabilities, truth), 3),
        "ece_by_chance": round(error_by_chance(probabilities), 3),
        "confusion": confusion(probabilities, truth, five, labels),
    }


def error_by_chance(probabilities: Floats) -> float:
    """Return the mean calibration error of predictions whose labels are drawn from them: it is 0 only for many images."""
    random = np.random.default_rng(0)
    ends = np.cumsum(probabilities, axis=1)
    errors = []
    for _ in range(DRAWS):
        drawn = (random.random((len(ends), 1)) * ends[:, -1:] > ends).sum(axis=1)
        errors.append(calibration_error(probabilities, drawn))
    return float(np.mean(errors))


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
        "This character with another emotion: share of questions, an image and another emotion of its character (at most 600),",
        "with a right answer as the first and among the first ten, by the artist's labels, and by the predictions beside",
        "look-alikes.",
        "",
        "| group | questions | labels, first | first ten | predictions, first | first ten |",
        "|---" * 6 + "|",
        *(_character_row(name, row["same_character"]) for name, row in result["groups"].items() if row["same_character"]),
        "",
        "| artist | images | alone | beside look-alikes | ECE | ECE by chance | face |",
        "|---" * 7 + "|",
    ]
    for name, row in result["sets"].items():
        beside = row["beside"]
        numbers = (row["alone"]["five"], beside["five"], beside["ece"], beside["ece_by_chance"], row["face"])
        lines.append(f"| {name} | {row['images']} | " + " | ".join(f"{number:.2f}" for number in numbers) + " |")
    return "\n".join(lines) + "\n"


def _character_row(name: str, rates: dict[str, Any]) -> str:
    numbers = [rates[source][rank] for source in ("labels", "predictions") for rank in ("hit_at_1", "hit_at_10")]
    return f"| {name} | {rates['labels']['questions']} | " + " | ".join(f"{number:.2f}" for number in numbers) + " |"


def draw_mistakes(images: Sequence[Compared], labels: Sequence[str]) -> Image.Image:
    """Draw the most confident mistakes on visual novels, with the label of the artist and the prediction."""
    novels = [image for image in images if image.judged.set.startswith("vn_")]
    wrong = [image for image in novels if labels[image.probabilities.argmax()] != image.judged.label]
    wrong.sort(key=lambda image: -float(image.probabilities.max()))
    side, columns = 150, 10
    sheet = Image.new("RGB", (columns * side, 8 * side), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for number, image in enumerate(wrong[: 8 * columns]):
        with Image.open(image.judged.path) as opened:
            tile = opened.convert("RGBA")
        tile.thumbnail((side - 4, side - 20))
        x, y = number % columns * side, number // columns * side
        sheet.paste(tile, (x, y), tile)
        draw.text((x, y + side - 14), f"{image.judged.label} > {labels[image.probabilities.argmax()]}", fill=(200, 0, 0))
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
