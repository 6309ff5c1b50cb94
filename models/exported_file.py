"""Files of exported models, which replace older ones only after their outputs were checked. Imports no torch.

All formats compute the same; a program needs only the card in addition.

- Input: `pixels`, uint8, (N, size, size, 3), RGB, prepared as `input` of the card describes; N >= 1.
- Output: `probabilities`, float32, (N, labels), calibrated, rows sum to 1; `embeddings`, float32, (N, embedding size), rows of
  length 1.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.errors import ModelUnavailable, UsageError
from indexer.domain.reports import ExportedModel
from indexer.system.atomic import replace_file
from models.inference.engines.onnx_runtime import import_onnxruntime

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.types import Floats, Pixels

    Outputs = tuple[Floats, Floats]
    Run = Callable[[Pixels], Outputs]
    """Computes the outputs of a model from its input."""

INPUT, OUTPUTS = "pixels", ("probabilities", "embeddings")
"""Names of the input and of the outputs."""

TOLERANCE = 1e-4
"""Largest accepted absolute difference of a probability, or of a number of an embedding, from the model."""

_CHECKPOINT_SUFFIXES = (".safetensors", ".json")


def check_target(path: Path, force: bool) -> None:
    """Raise UsageError if a file cannot be written, or if it exists and `force` is False."""
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written: it is a folder, or its folder does not exist.")
    if path.suffix in _CHECKPOINT_SUFFIXES:
        raise UsageError(f"{path} has the suffix of a checkpoint or card, and might replace one; choose another suffix.")
    if path.exists() and not force:
        raise UsageError(f"{path} already exists; --force replaces it.")


def write_checked(
    kind: str,
    path: Path,
    card: ModelCard,
    model: Run,
    write: Callable[[Path], None],
    load: Callable[[Path], Run],
    tolerance: float = TOLERANCE,
) -> ExportedModel:
    """Write a temporary file, load it, compare its outputs with those of `model`, and only then replace `path`.

    Raises ModelUnavailable if they differ by `tolerance` or more, or if the file cannot be made; OSError if it cannot be written.
    """
    differences = (0.0, 0.0)
    size = 0

    def write_and_compare(temporary: Path) -> None:
        nonlocal differences, size
        try:
            write(temporary)
            differences = _differences(model, load(temporary), card.input.size)
        except OSError:
            raise
        except Exception as error:  # torch, onnxscript and onnxruntime raise many types for unsupported networks
            reason = str(error).partition("\n")[0]
            raise ModelUnavailable(
                f"{card.architecture} cannot be exported as {kind}: {type(error).__name__}, {reason}"
            ) from error
        # Negated, because `max(differences) >= tolerance` is False for NaN.
        if not max(differences) < tolerance:
            raise ModelUnavailable(
                f"{card.name!r} was not exported: its probabilities would differ by {differences[0]:.1e} and its embeddings "
                f"by {differences[1]:.1e} from the model's, more than {tolerance:.0e}."
            )
        size = temporary.stat().st_size

    replace_file(path, write_and_compare)
    return ExportedModel(path, kind, card.name, size, *differences)


def onnx_metadata(card: ModelCard) -> Mapping[str, str]:
    """Return the metadata of an ONNX file: name, architecture, labels (JSON), input (JSON), weights digest and key."""
    return {
        "name": card.name,
        "architecture": card.architecture,
        "labels": json.dumps(card.labels),
        "input": json.dumps({**asdict(card.input), "layout": "NHWC", "channels": "RGB", "type": "uint8"}),
        "weights_digest": card.weights_digest,
        "key": card.key,
    }


def load_onnx(path: Path) -> Run:
    """Open an exported ONNX file."""
    session = import_onnxruntime().InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(pixels: Pixels) -> Outputs:
        probabilities, embeddings = session.run(list(OUTPUTS), {INPUT: pixels})
        return probabilities, embeddings

    return run


def _differences(model: Run, run: Run, size: int) -> tuple[float, float]:
    """Return the largest absolute differences of probabilities and of embeddings.

    They are measured on batches of one and of three random images.
    """
    differences = []
    for count in (1, 3):
        pixels = np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        pairs = zip(model(pixels), run(pixels), strict=True)
        differences.append([float(np.abs(expected - exported).max()) for expected, exported in pairs])
    probabilities, embeddings = np.array(differences).max(axis=0).tolist()
    return probabilities, embeddings
