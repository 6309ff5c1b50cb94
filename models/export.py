"""Export of models to formats of other programs, with torch. See `models.exported_file` for what the files compute.

Both formats hold `models.architectures.network.NormalizedClassifier`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from indexer.system.optional import require
from models import checkpoint
from models.exported_file import INPUT, OUTPUTS, TOLERANCE, load_onnx, onnx_metadata, write_checked
from models.inference.module import build_inference_module
from models.model_card import card_text

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.reports import ExportedModel
    from models.architectures.network import NormalizedClassifier
    from models.exported_file import Run

OPSET = 18
"""The ONNX operator set that torch writes without conversion; onnxruntime runs it from 1.14 on."""

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_CARD_FILE = "card.json"


def export_onnx(path: Path, checkpoint_path: Path, tolerance: float = TOLERANCE) -> ExportedModel:
    """Write a checkpoint as ONNX, with the metadata of `models.exported_file.onnx_metadata`.

    Replaces `path` only if the outputs of onnxruntime agree with those of torch within `tolerance`, an absolute difference.
    Raises ModelUnavailable if they do not and for an unusable checkpoint, MissingExtra if onnx, onnxscript or onnxruntime is
    not installed, OSError if the file cannot be written.
    """
    for package in ONNX_PACKAGES:
        require(package, package, "export", "Exporting to ONNX")
    card, model = _open(checkpoint_path)

    def write(temporary: Path) -> None:
        program = torch.onnx.export(
            model,
            (_example_images(card),),
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes=_variable_batch_size(),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        if program is None:
            raise RuntimeError("torch returned no program")
        program.model.metadata_props.update(onnx_metadata(card))
        program.save(temporary)

    return write_checked("onnx", path, card, _runs(model), write, load_onnx, tolerance)


def export_torch(path: Path, checkpoint_path: Path, tolerance: float = TOLERANCE) -> ExportedModel:
    """Write a checkpoint as an archive of torch.export (.pt2), which also contains card.json.

    Replaces `path` only if the outputs of the archive agree with those of the checkpoint within `tolerance`, an absolute
    difference. Raises ModelUnavailable if they do not and for an unusable checkpoint, OSError if the file cannot be written.
    """
    card, model = _open(checkpoint_path)

    def write(temporary: Path) -> None:
        program = torch.export.export(model, (_example_images(card),), dynamic_shapes=_variable_batch_size())
        with temporary.open("wb") as file:
            torch.export.save(program, file, extra_files={_CARD_FILE: card_text(card)})

    return write_checked("torch", path, card, _runs(model), write, _load_archive, tolerance)


def _open(checkpoint_path: Path) -> tuple[ModelCard, NormalizedClassifier]:
    card, state = checkpoint.load(checkpoint_path)
    return card, build_inference_module(card, state)


def _variable_batch_size() -> dict[str, dict[int, object]]:
    return {INPUT: {0: torch.export.Dim("N", min=1)}}


def _example_images(card: ModelCard) -> Tensor:
    side = card.input.size
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8))


def _load_archive(path: Path) -> Run:
    with path.open("rb") as file:
        return _runs(torch.export.load(file).module())


def _runs(module: Any) -> Run:
    """Return a torch module as a function of arrays."""

    def run(pixels: Any) -> Any:
        with torch.inference_mode():
            return tuple(output.numpy() for output in module(torch.from_numpy(pixels)))

    return run
