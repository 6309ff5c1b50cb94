"""Export of models to formats of other programs.

An exported file replaces an older one only after its outputs agree with those of torch. Both formats hold
`models.architectures.network.NormalizedClassifier`; a program needs only the card in addition.

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
import torch
from torch import Tensor

from indexer.domain.errors import ModelUnavailable, UsageError
from indexer.domain.reports import ExportedModel
from indexer.system.atomic import replace_file
from indexer.system.optional import require
from models import checkpoint
from models.inference.engines.onnx_runtime import import_onnxruntime
from models.inference.module import build_inference_module
from models.model_card import card_text

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from models.architectures.network import NormalizedClassifier

OPSET = 18
"""The ONNX operator set that torch writes without conversion; onnxruntime runs it from 1.14 on."""

TOLERANCE = 1e-4
"""Largest accepted absolute difference of a probability, or of a number of an embedding, from torch."""

_INPUT, _OUTPUTS = "pixels", ("probabilities", "embeddings")
_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_CARD_FILE = "card.json"
_CHECKPOINT_SUFFIXES = (".safetensors", ".json")

Outputs = tuple[Tensor, Tensor]
Run = Callable[[Tensor], Outputs]


def export(kind: str, path: Path, checkpoint_path: Path, force: bool = False) -> ExportedModel:
    """Write a checkpoint as "onnx" or "torch".

    Raises UsageError if the file cannot be written, or if it exists and `force` is False; and the errors of `export_onnx` and
    `export_torch`.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written: it is a folder, or its folder does not exist.")
    if path.suffix in _CHECKPOINT_SUFFIXES:
        raise UsageError(f"{path} has the suffix of a checkpoint or card, and might replace one; choose another suffix.")
    if path.exists() and not force:
        raise UsageError(f"{path} already exists; --force replaces it.")
    formats = {"onnx": export_onnx, "torch": export_torch}
    try:
        return formats[kind](path, checkpoint_path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}.") from error


def export_onnx(path: Path, checkpoint_path: Path, tolerance: float = TOLERANCE) -> ExportedModel:
    """Write a checkpoint as ONNX.

    The metadata of the file are name, architecture, labels (JSON), input (JSON), weights digest and key.

    Replaces `path` only if the outputs of onnxruntime agree with those of torch within `tolerance`, an absolute difference.
    Raises ModelUnavailable if they do not and for an unusable checkpoint, MissingExtra if onnx, onnxscript or onnxruntime is
    not installed, OSError if the file cannot be written.
    """
    for package in _ONNX_PACKAGES:
        require(package, package, "export", "Exporting to ONNX")
    card, model = _open(checkpoint_path)

    def write(temporary: Path) -> None:
        program = torch.onnx.export(
            model,
            (_random_images(2, card.input.size),),
            input_names=[_INPUT],
            output_names=list(_OUTPUTS),
            dynamic_shapes=_variable_batch_size(),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        if program is None:
            raise RuntimeError("torch returned no program")
        program.model.metadata_props.update(_onnx_metadata(card))
        program.save(temporary)

    return _write_checked("onnx", path, card, model, write, _load_onnx, tolerance)


def export_torch(path: Path, checkpoint_path: Path, tolerance: float = TOLERANCE) -> ExportedModel:
    """Write a checkpoint as an archive of torch.export (.pt2), which also contains card.json.

    Replaces `path` only if the outputs of the archive agree with those of the checkpoint within `tolerance`, an absolute
    difference. Raises ModelUnavailable if they do not and for an unusable checkpoint, OSError if the file cannot be written.
    """
    card, model = _open(checkpoint_path)

    def write(temporary: Path) -> None:
        program = torch.export.export(model, (_random_images(2, card.input.size),), dynamic_shapes=_variable_batch_size())
        with temporary.open("wb") as file:
            torch.export.save(program, file, extra_files={_CARD_FILE: card_text(card)})

    return _write_checked("torch", path, card, model, write, _load_archive, tolerance)


def _open(checkpoint_path: Path) -> tuple[ModelCard, NormalizedClassifier]:
    card, state = checkpoint.load(checkpoint_path)
    return card, build_inference_module(card, state)


def _variable_batch_size() -> dict[str, dict[int, object]]:
    return {_INPUT: {0: torch.export.Dim("N", min=1)}}


def _onnx_metadata(card: ModelCard) -> Mapping[str, str]:
    return {
        "name": card.name,
        "architecture": card.architecture,
        "labels": json.dumps(card.labels),
        "input": json.dumps({**asdict(card.input), "layout": "NHWC", "channels": "RGB", "type": "uint8"}),
        "weights_digest": card.weights_digest,
        "key": card.key,
    }


def _write_checked(
    kind: str,
    path: Path,
    card: ModelCard,
    model: NormalizedClassifier,
    write: Callable[[Path], None],
    load: Callable[[Path], Run],
    tolerance: float,
) -> ExportedModel:
    """Write a temporary file, load it, compare its outputs with those of `model`, and only then replace `path`."""
    differences = (0.0, 0.0)
    size = 0

    def write_checked(temporary: Path) -> None:
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
                f"by {differences[1]:.1e} from torch's, more than {tolerance:.0e}."
            )
        size = temporary.stat().st_size

    replace_file(path, write_checked)
    return ExportedModel(path, kind, card.name, size, *differences)


@torch.inference_mode()
def _differences(model: NormalizedClassifier, run: Run, size: int) -> tuple[float, float]:
    """Return the largest absolute differences of probabilities and of embeddings.

    They are measured on batches of one and of three random images.
    """
    differences = []
    for count in (1, 3):
        images = _random_images(count, size, seed=count)
        pairs = zip(model(images), run(images), strict=True)
        differences.append([float((expected - exported).abs().max()) for expected, exported in pairs])
    probabilities, embeddings = np.array(differences).max(axis=0).tolist()
    return probabilities, embeddings


def _random_images(count: int, size: int, seed: int = 0) -> Tensor:
    """Return random images, uint8, (count, size, size, 3)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator)


def _load_onnx(path: Path) -> Run:
    session = import_onnxruntime().InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Outputs:
        probabilities, embeddings = session.run(list(_OUTPUTS), {_INPUT: images.numpy()})
        return torch.from_numpy(probabilities), torch.from_numpy(embeddings)

    return run


def _load_archive(path: Path) -> Run:
    with path.open("rb") as file:
        run: Run = torch.export.load(file).module()
    return run
