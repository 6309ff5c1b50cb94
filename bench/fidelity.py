"""What faster ways of computing change: labels and embeddings against the plain way, and the time they take.

    python bench/fidelity.py HEADS [--pictures N]

HEADS is a folder of drawn pictures. On a folder of mixed pictures (bench/corpus.py), the shipped model by torch in fp32 on
pictures that were decoded whole is compared with: ONNX Runtime, bf16, pictures decoded as for indexing or resized by Pillow,
and JPEG decoded to several sizes. One thread.
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

BATCHES = (1, 4, 8, 16, 32, 64)
SPARES, WHOLE = (1.5, 3, 6, decode._DRAFT_SIZE_FACTOR), float("inf")
SAME = 0.5
"""Of two boxes together that they have in common, at least, where they are of the same face."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path)
    parser.add_argument("--pictures", type=int, default=1000)
    options = parser.parse_args()
    path = zoo.checkpoints()[zoo.DEFAULT]
    plain = TorchClassifier.open(path, "cpu", threads=1)
    ways = {
        "ONNX Runtime": (OnnxClassifier.open(path, threads=1), onnx_face_detector(threads=1)),
        "bf16": (TorchClassifier.open(path, "cpu", threads=1, precision="bf16"), torch_face_detector(device="cpu")),
    }
    with tempfile.TemporaryDirectory() as scratch:
        corpus.make(Path(scratch), options.heads, options.pictures)
        files = [path.read_bytes() for path in sorted(Path(scratch).rglob("*")) if path.is_file()]
    found, whole = Analyzer(plain, torch_face_detector(device="cpu")), Analyzer(plain)
    with _replaced(decode, "_DRAFT_SIZE_FACTOR", WHOLE):
        pages, pictures = _decoded(found, files)[0], _decoded(whole, files)[0]
    faces, wholes = _answers(found, pages), _answers(whole, pictures)
    rows = {name: _compared(faces, _answers(Analyzer(*way), pages)) for name, way in ways.items()}
    rows["decoded as for indexing"] = _compared(faces, _answers(found, _decoded(found, files)[0]))
    with _replaced(resize, "_fastest", lambda: resize.by_pillow):
        rows["resized by Pillow"] = _compared(faces, _answers(found, _decoded(found, files)[0]))
        rows["resized by Pillow, as a whole"] = _compared(wholes, _answers(whole, _decoded(whole, files)[0]))
    jpegs = [data for data in files if data[:2] == b"\xff\xd8"]
    decode_ms = {}
    for spare in (WHOLE, *SPARES):
        with _replaced(decode, "_DRAFT_SIZE_FACTOR", spare):
            decoded, milliseconds = _decoded(whole, jpegs)
        if spare == WHOLE:
            plainly, decode_ms["whole"] = decoded, milliseconds
            continue
        decode_ms[f"to {spare} times"] = milliseconds
        rows[f"JPEG decoded to {spare} times the size"] = _compared(_answers(whole, plainly), _answers(whole, decoded))
    pixels = np.stack([image.pixels for image in plainly[:64]])
    results = {
        "machine": machine(),
        "pictures": len(files),
        "rows": rows,
        "decode_ms": decode_ms,
        "network_ms": {
            name: {size: _milliseconds(classifier, pixels, size) for size in BATCHES}
            for name, classifier in {"torch": plain, **{name: way[0] for name, way in ways.items()}}.items()
        },
    }
    target = ROOT / "bench" / "results" / "fidelity"
    target.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    target.with_suffix(".md").write_text(page(results))
    print(page(results))


@contextmanager
def _replaced(module: ModuleType, name: str, value: Any) -> Iterator[None]:
    own = getattr(module, name)
    setattr(module, name, value)
    yield
    setattr(module, name, own)


def _decoded(reader: Analyzer, files: list[bytes]) -> tuple[list[Any], float]:
    """The pictures, and the milliseconds that each took."""
    started = time.process_time()
    images = [reader.decode(data) for data in files]
    return images, round(1000 * (time.process_time() - started) / len(files), 2)


def _answers(reader: Analyzer, images: list[Any]) -> list[Any]:
    return [regions for start in range(0, len(images), 16) for regions in reader.predict(images[start : start + 16])]


def _compared(plain: list[Any], other: list[Any]) -> dict[str, float]:
    """Over the faces, or whole pictures, that both ways look at; `faces` is the share that both do."""
    pairs = [(one, _same(one, answers)) for regions, answers in zip(plain, other, strict=True) for one in regions]
    both = [(one, same) for one, same in pairs if same is not None]
    vectors = [np.stack([pair[side].embedding for pair in both]).astype(np.float64) for side in (0, 1)]
    lengths = [np.linalg.norm(side, axis=1) for side in vectors]
    cosines = (vectors[0] * vectors[1]).sum(axis=1) / (lengths[0] * lengths[1])
    said = [np.array([pair[side].probabilities for pair in both]) for side in (0, 1)]
    return {
        "faces": round(len(both) / len(pairs), 4),
        "cosine": round(float(cosines.mean()), 6),
        "cosine_of_worst_percent": round(float(np.quantile(cosines, 0.01)), 5),
        "same_label": round(float((said[0].argmax(axis=1) == said[1].argmax(axis=1)).mean()), 4),
        "probability": round(float(np.median(np.abs(said[0] - said[1]).max(axis=1))), 5),
    }


def _same(one: Any, answers: Any) -> Any:
    """The answer for the same place, which has most in common with it and at least half; None where there is none."""
    if one.face is None:
        return answers[0] if answers[0].face is None else None
    shares = [iou_matrix(_box(one), _box(other)).item() if other.face else 0.0 for other in answers]
    nearest = int(np.argmax(shares))
    return answers[nearest] if shares[nearest] >= SAME else None


def _box(answer: Any) -> Any:
    face = answer.face
    return np.array([[face.left, face.top, face.right, face.bottom]])


def _milliseconds(classifier: Any, pixels: Any, size: int) -> float:
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
    """The results as Markdown."""
    head = f"{results['pictures']} mixed pictures, the shipped model, against torch in fp32 on pictures that were decoded whole,"
    took = ", ".join(f"{milliseconds} ms {name}" for name, milliseconds in results["decode_ms"].items())
    lines = [
        "# What faster ways change",
        "",
        f"`python bench/fidelity.py HEADS` on {results['machine']}: {head}",
        "face by face; JPEG, which nothing but pictures taken as a whole needs small, on those.",
        "",
        "| way | same faces | cosine of embeddings | of the worst hundredth | same emotion | probabilities differ, median |",
        "|---|---|---|---|---|---|",
        *(f"| {name} | {' | '.join(str(value) for value in one.values())} |" for name, one in results["rows"].items()),
        "",
        f"A JPEG took {took}. The classifier alone, ms a picture on one core, by batch:",
        "",
        f"| | {' | '.join(map(str, BATCHES))} |",
        "|---" * (1 + len(BATCHES)) + "|",
        *(f"| {name} | {' | '.join(f'{one[size]:.2f}' for size in one)} |" for name, one in results["network_ms"].items()),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
