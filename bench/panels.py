"""What finding faces is worth: pictures of artists never seen, pasted small onto large pages, judged as a whole and face by face.

    python bench/panels.py VALIDATION CUTOUTS [--output FOLDER]

VALIDATION holds labelled sets (SET/EMOTION/FILE), CUTOUTS what `recipes/faces/things.mjs` wrote, for the pages' backgrounds. Each
picture lies once on a page of 768 pixels, at a half, a quarter and three twentieths of its width, at a random place. Balanced
accuracy over happy, sad, angry, surprise and neutral, guessing among those of them that the set has.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from indexer.analysis.analyzer import Analyzer  # noqa: E402
from indexer.analysis.face_crops import DETECTION_MAX_SIDE  # noqa: E402
from models import zoo  # noqa: E402
from models.faces.detector import torch_face_detector  # noqa: E402
from models.inference.classifier import TorchClassifier  # noqa: E402
from models.training.dataset_readers import SourceImage, find_images  # noqa: E402
from models.training.metrics import evaluate_subset  # noqa: E402
from recipes.detector.cutouts import load_things  # noqa: E402
from recipes.detector.scenes import background  # noqa: E402

FIVE = ("happy", "sad", "angry", "surprise", "neutral")
SHARES = (1.0, 0.5, 0.25, 0.15)
AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Row:
    """One set at one size."""

    set: str
    share: float
    pictures: int
    found: int
    whole: float
    faces: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("validation", type=Path)
    parser.add_argument("cutouts", type=Path)
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "results")
    options = parser.parse_args()
    classifier = TorchClassifier.open(zoo.checkpoints()[zoo.DEFAULT], "cpu")
    readers = Analyzer(classifier), Analyzer(classifier, torch_face_detector(device="cpu"))
    things = load_things(options.cutouts)
    rows = []
    for folder in sorted(path for path in options.validation.iterdir() if path.is_dir()):
        pictures = find_images([folder])
        for share in SHARES:
            rows.append(row(folder.name, share, pictures, readers, things))
            print(rows[-1], flush=True)
    lines = [
        "# Small faces on large pages",
        "",
        "`python bench/panels.py VALIDATION CUTOUTS`: pictures of artists never seen, on pages of 768 pixels, at a share of",
        "their width (1: the picture alone). Balanced accuracy over five emotions, shipped model and detector; chance is 0.20.",
        "",
        "| set | share | pictures | with a face found | as a whole | face by face |",
        "|---|---|---|---|---|---|",
        *(f"| {one.set} | {one.share:g} | {one.pictures} | {one.found} | {one.whole:.3f} | {one.faces:.3f} |" for one in rows),
    ]
    (options.output / "panels.md").write_text("\n".join(lines) + "\n")
    (options.output / "panels.json").write_text(
        json.dumps([{name: getattr(one, name) for name in Row.__slots__} for one in rows], indent=2) + "\n"
    )


def row(
    name: str, share: float, pictures: list[SourceImage], readers: tuple[Analyzer, Analyzer], things: list[Image.Image]
) -> Row:
    random = np.random.default_rng(0)
    whole, main = [], []
    found = 0
    labels = readers[0].classifier.card.labels
    for start in range(0, len(pictures), AT_ONCE):
        data = [page(random, Path(one.path), share, things) for one in pictures[start : start + AT_ONCE]]
        for reader, answers in zip(readers, (whole, main), strict=True):
            for regions in filter(None, reader.predict([reader.decode(one) for one in data])):
                answers.append(regions[0].probabilities)
                found += regions[0].face is not None
    truth = np.array([labels.index(one.emotion) for one in pictures])
    scores = [
        evaluate_subset(np.array(answers, dtype=np.float32), truth, labels, FIVE).balanced_accuracy for answers in (whole, main)
    ]
    return Row(name, share, len(pictures), found, round(scores[0], 4), round(scores[1], 4))


def page(random: np.random.Generator, path: Path, share: float, things: list[Image.Image]) -> bytes:
    """A picture file on a page, as a PNG file; the file itself where it takes all of it."""
    if share == 1:
        return path.read_bytes()
    with Image.open(path) as file:
        image = file.convert("RGBA")
    longest = round(DETECTION_MAX_SIDE * share)
    scale = longest / max(image.size)
    image = image.resize(
        (max(1, round(image.width * scale)), max(1, round(image.height * scale))),
        Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BICUBIC,
    )
    sheet = background(random, things, DETECTION_MAX_SIDE, DETECTION_MAX_SIDE)
    sheet.paste(image, tuple(int(random.integers(0, DETECTION_MAX_SIDE - side + 1)) for side in image.size), image)
    data = BytesIO()
    sheet.save(data, "PNG")
    return data.getvalue()


if __name__ == "__main__":
    main()
