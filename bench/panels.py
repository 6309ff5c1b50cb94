"""Measure what face detection contributes for small faces on large pages.

    python bench/panels.py VALIDATION CUTOUTS [--output FOLDER]

VALIDATION holds labeled sets (SET/EMOTION/FILE) of artists that the model has not seen. CUTOUTS is a folder that
`recipes/faces/things.mjs` has written, for the backgrounds of the pages. Each image is pasted once on a page of 768 pixels, at a
half, a quarter and three twentieths of its width, at a random position. The page is classified as a whole and face by face. The
score is the balanced accuracy over happy, sad, angry, surprise and neutral, with guesses among those of them that the set has.
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
from recipes.detector.scenes import Objects, background  # noqa: E402

FIVE = ("happy", "sad", "angry", "surprise", "neutral")
WIDTH_SHARES = (1.0, 0.5, 0.25, 0.15)
BATCH_SIZE = 32


@dataclass(frozen=True, slots=True)
class Row:
    """The scores of one set at one size.

    - `share`: width of the image as a share of the page.
    - `with_face`: number of images with a detected face.
    - `whole`, `faces`: balanced accuracy without and with face detection, 0-1.
    """

    set: str
    share: float
    images: int
    with_face: int
    whole: float
    faces: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("validation", type=Path)
    parser.add_argument("cutouts", type=Path)
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "results")
    options = parser.parse_args()
    classifier = TorchClassifier.open(zoo.checkpoints()[zoo.DEFAULT], "cpu")
    analyzers = Analyzer(classifier), Analyzer(classifier, torch_face_detector(device="cpu"))
    objects = Objects(load_things(options.cutouts))
    rows = []
    for folder in sorted(path for path in options.validation.iterdir() if path.is_dir()):
        images = find_images([folder])
        for share in WIDTH_SHARES:
            rows.append(measure(folder.name, share, images, analyzers, objects))
            print(rows[-1], flush=True)
    fields = [{name: getattr(row, name) for name in Row.__slots__} for row in rows]
    (options.output / "panels.md").write_text(page(rows))
    (options.output / "panels.json").write_text(json.dumps(fields, indent=2) + "\n")


def measure(name: str, share: float, images: list[SourceImage], analyzers: tuple[Analyzer, Analyzer], objects: Objects) -> Row:
    """Classify the images of one set at one size, without and with face detection."""
    random = np.random.default_rng(0)
    by_image, by_face = [], []
    with_face = 0
    labels = analyzers[0].classifier.card.labels
    for start in range(0, len(images), BATCH_SIZE):
        files = [compose(random, Path(image.path), share, objects) for image in images[start : start + BATCH_SIZE]]
        for analyzer, probabilities in zip(analyzers, (by_image, by_face), strict=True):
            for regions in filter(None, analyzer.predict([analyzer.decode(data) for data in files])):
                probabilities.append(regions[0].probabilities)
                with_face += regions[0].face is not None
    truth = np.array([labels.index(image.emotion) for image in images])
    scores = [
        evaluate_subset(np.array(probabilities, dtype=np.float32), truth, labels, FIVE).balanced_accuracy
        for probabilities in (by_image, by_face)
    ]
    return Row(name, share, len(images), with_face, round(scores[0], 4), round(scores[1], 4))


def compose(random: np.random.Generator, path: Path, share: float, objects: Objects) -> bytes:
    """Paste an image on a page, its longer side `share` of DETECTION_MAX_SIDE; return a PNG file.

    A share of 1 returns the image file unchanged.
    """
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
    sheet = background(random, objects, DETECTION_MAX_SIDE, DETECTION_MAX_SIDE)
    sheet.paste(image, tuple(int(random.integers(0, DETECTION_MAX_SIDE - side + 1)) for side in image.size), image)
    data = BytesIO()
    sheet.save(data, "PNG")
    return data.getvalue()


def page(rows: list[Row]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Small faces on large pages",
        "",
        "`python bench/panels.py VALIDATION CUTOUTS`: images of artists that the model has not seen, on pages of 768 pixels, at",
        "a share of their width (1: the image alone). Balanced accuracy over five emotions, shipped model and detector; chance",
        "is 0.20.",
        "",
        "| set | share | images | with a detected face | as a whole | face by face |",
        "|---|---|---|---|---|---|",
        *(f"| {row.set} | {row.share:g} | {row.images} | {row.with_face} | {row.whole:.3f} | {row.faces:.3f} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
