"""Measure how faster methods change labels and embeddings, and the time that each method takes.

    python bench/fidelity.py HEADS [--images N]

HEADS is a folder of drawn heads (PNG). The script makes a folder of mixed images (bench/corpus.py). The baseline is the shipped
model run by torch in fp32 on images that were decoded at full size. It is compared with: ONNX Runtime; bf16; images decoded as
for indexing or resized by Pillow; and JPEG files decoded to several sizes. All of them use one thread.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import corpus  # noqa: E402
from bench.machine import machine  # noqa: E402
from indexer.analysis.analyzer import Analyzer  # noqa: E402
from indexer.imaging import decode, resize  # noqa: E402
from models import zoo  # noqa: E402
from models.faces.decode_boxes import iou_matrix  # noqa: E402
from models.faces.detector import onnx_face_detector, torch_face_detector  # noqa: E402
from models.inference.classifier import OnnxClassifier, TorchClassifier  # noqa: E402

BATCH_SIZES = (1, 4, 8, 16, 32, 64)
DRAFT_SIZE_FACTORS, FULL_SIZE = (1.5, 3, 6, decode._DRAFT_SIZE_FACTOR), float("inf")
MIN_IOU = 0.5
"""Smallest intersection over union of two boxes of the same face."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    options = parser.parse_args()
    path = zoo.checkpoints()[zoo.DEFAULT]
    baseline = TorchClassifier.open(path, "cpu", threads=1)
    methods = {
        "ONNX Runtime": (OnnxClassifier.open(path, threads=1), onnx_face_detector(threads=1)),
        "bf16": (TorchClassifier.open(path, "cpu", threads=1, precision="bf16"), torch_face_detector(device="cpu")),
    }
    with tempfile.TemporaryDirectory() as scratch:
        corpus.make(Path(scratch), options.heads, options.images)
        files = [path.read_bytes() for path in sorted(Path(scratch).rglob("*")) if path.is_file()]
    by_face, by_image = Analyzer(baseline, torch_face_detector(device="cpu")), Analyzer(baseline)
    with _replaced(decode, "_DRAFT_SIZE_FACTOR", FULL_SIZE):
        pages, images = _decode(by_face, files)[0], _decode(by_image, files)[0]
    face_predictions, image_predictions = _predict(by_face, pages), _predict(by_image, images)
    rows = {name: _compare(face_predictions, _predict(Analyzer(*method), pages)) for name, method in methods.items()}
    rows["decoded as for indexing"] = _compare(face_predictions, _predict(by_face, _decode(by_face, files)[0]))
    with _replaced(resize, "_fastest", lambda: resize.by_pillow):
        rows["resized by Pillow"] = _compare(face_predictions, _predict(by_face, _decode(by_face, files)[0]))
        rows["resized by Pillow, whole images"] = _compare(image_predictions, _predict(by_image, _decode(by_image, files)[0]))
    jpegs = [data for data in files if data[:2] == b"\xff\xd8"]
    decode_ms = {}
    for factor in (FULL_SIZE, *DRAFT_SIZE_FACTORS):
        with _replaced(decode, "_DRAFT_SIZE_FACTOR", factor):
            decoded, milliseconds = _decode(by_image, jpegs)
        if factor == FULL_SIZE:
            full_size, decode_ms["at full size"] = decoded, milliseconds
            continue
        decode_ms[f"at {factor} times the input"] = milliseconds
        rows[f"JPEG decoded at {factor} times the input"] = _compare(_predict(by_image, full_size), _predict(by_image, decoded))
    pixels = np.stack([image.pixels for image in full_size[:64]])
    results = {
        "machine": machine(),
        "images": len(files),
        "rows": rows,
        "decode_ms": decode_ms,
        "network_ms": {
            name: {size: _milliseconds(classifier, pixels, size) for size in BATCH_SIZES}
            for name, classifier in {"torch": baseline, **{name: method[0] for name, method in methods.items()}}.items()
        },
    }
    target = ROOT / "bench" / "results" / "fidelity"
    target.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    target.with_suffix(".md").write_text(page(results))
    print(page(results))


@contextmanager
def _replaced(module: ModuleType, name: str, value: Any) -> Iterator[None]:
    original = getattr(module, name)
    setattr(module, name, value)
    yield
    setattr(module, name, original)


def _decode(analyzer: Analyzer, files: list[bytes]) -> tuple[list[Any], float]:
    """Decode files; return the images and the CPU milliseconds per image."""
    started = time.process_time()
    images = [analyzer.decode(data) for data in files]
    return images, round(1000 * (time.process_time() - started) / len(files), 2)


def _predict(analyzer: Analyzer, images: list[Any]) -> list[Any]:
    return [regions for start in range(0, len(images), 16) for regions in analyzer.predict(images[start : start + 16])]


def _compare(baseline: list[Any], other: list[Any]) -> dict[str, float]:
    """Compare the predictions of two methods over the faces, or whole images, that both analyze.

    `faces` is the share of the baseline's regions that both analyze.
    """
    pairs = [
        (prediction, _same_region(prediction, candidates))
        for regions, candidates in zip(baseline, other, strict=True)
        for prediction in regions
    ]
    both = [(prediction, same) for prediction, same in pairs if same is not None]
    vectors = [np.stack([pair[side].embedding for pair in both]).astype(np.float64) for side in (0, 1)]
    lengths = [np.linalg.norm(side, axis=1) for side in vectors]
    cosines = (vectors[0] * vectors[1]).sum(axis=1) / (lengths[0] * lengths[1])
    probabilities = [np.array([pair[side].probabilities for pair in both]) for side in (0, 1)]
    same_labels = probabilities[0].argmax(axis=1) == probabilities[1].argmax(axis=1)
    return {
        "faces": round(len(both) / len(pairs), 4),
        "cosine": round(float(cosines.mean()), 6),
        "cosine_of_worst_percent": round(float(np.quantile(cosines, 0.01)), 5),
        "same_label": round(float(same_labels.mean()), 4),
        "probability": round(float(np.median(np.abs(probabilities[0] - probabilities[1]).max(axis=1))), 5),
    }


def _same_region(prediction: Any, candidates: Any) -> Any:
    """Return the candidate whose box overlaps most; None if no box reaches MIN_IOU."""
    if prediction.face is None:
        return candidates[0] if candidates[0].face is None else None
    shares = [iou_matrix(_box(prediction), _box(other)).item() if other.face else 0.0 for other in candidates]
    nearest = int(np.argmax(shares))
    return candidates[nearest] if shares[nearest] >= MIN_IOU else None


def _box(prediction: Any) -> Any:
    face = prediction.face
    return np.array([[face.left, face.top, face.right, face.bottom]])


def _milliseconds(classifier: Any, pixels: Any, size: int) -> float:
    """Measure the CPU milliseconds per image in batches of that size, the median of five runs."""

    def seconds() -> float:
        started = time.process_time()
        for start in range(0, len(pixels), size):
            classifier.classify(pixels[start : start + size])
        return time.process_time() - started

    _set_batch_size(classifier._engine, size)
    seconds()
    return round(1000 * float(np.median([seconds() for _ in range(5)])) / len(pixels), 2)


def _set_batch_size(engine: Any, size: int) -> None:
    setattr(engine, "_batch_size" if hasattr(engine, "_batch_size") else "batch_size", size)


def page(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    decode_times = ", ".join(f"{milliseconds} ms {name}" for name, milliseconds in results["decode_ms"].items())
    lines = [
        "# Effect of faster methods",
        "",
        f"`python bench/fidelity.py HEADS` on {results['machine']}: {results['images']} mixed images and the shipped model. Each",
        "method is compared, face by face, with torch in fp32 on images that were decoded at full size. The rows of JPEG are",
        "about whole images, because only those need a JPEG file at a small size. The cosines are those of the embeddings.",
        "",
        "| method | same faces | cosine, mean | cosine, first percentile | same emotion | difference of probabilities, median |",
        "|---|---|---|---|---|---|",
        *(f"| {name} | {' | '.join(str(value) for value in row.values())} |" for name, row in results["rows"].items()),
        "",
        f"CPU time of decoding a JPEG: {decode_times}.",
        "CPU time of the classifier alone, ms per image on one core, by batch size:",
        "",
        f"| | {' | '.join(map(str, BATCH_SIZES))} |",
        "|---" * (1 + len(BATCH_SIZES)) + "|",
        *(
            f"| {name} | {' | '.join(f'{milliseconds:.2f}' for milliseconds in by_size.values())} |"
            for name, by_size in results["network_ms"].items()
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
