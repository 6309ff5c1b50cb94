"""Opens models with the engine that is fastest on this machine, or with the one that the user chose."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.errors import UsageError
from models.inference.engines.onnx_graph import find_graph
from models.model_card import read_card

if TYPE_CHECKING:
    from indexer.ports.models import Classifier, FaceDetector

_GPUS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""Devices of a GPU on Linux: NVIDIA, Windows (WSL), AMD."""


@dataclass(frozen=True, slots=True)
class ComputeOptions:
    """How to compute.

    - `engine`: "auto", "torch" or "onnx"; `precision`: "fp32", "bf16" or "fp16".
    - `batch_size`, and `threads` of the CPU per batch: 0 chooses a number.
    - `few`: only an image or two will be classified, so a fast start counts.
    """

    device: str = "auto"
    require_gpu: bool = False
    batch_size: int = 0
    threads: int = 0
    engine: str = "auto"
    precision: str = "fp32"
    few: bool = False


def open_classifier(path: Path, how: ComputeOptions) -> Classifier:
    """Open the checkpoint at `path`. Raises ModelUnavailable, DeviceUnavailable, MissingExtra and UsageError."""
    from models.inference.classifier import OnnxClassifier, TorchClassifier

    card = read_card(path)
    if _by_onnx(how, find_graph(card.architecture, card.input) is not None):
        return OnnxClassifier.open(path, how.batch_size, how.threads)
    return TorchClassifier.open(path, how.device, how.require_gpu, how.batch_size, how.threads, how.precision)


def open_face_detector(how: ComputeOptions) -> FaceDetector:
    """Open the shipped face detector, always in full precision. Raises as `open_classifier` does."""
    from models.faces.detector import has_graphs, onnx_face_detector, torch_face_detector

    if _by_onnx(replace(how, precision="fp32"), has_graphs()):
        return onnx_face_detector(threads=how.threads)
    return torch_face_detector(device=how.device)


def _by_onnx(how: ComputeOptions, drawn: bool) -> bool:
    """Return whether to use ONNX Runtime; `drawn` says whether there is a graph of the network."""
    able = how.device in ("auto", "cpu") and not how.require_gpu and how.precision == "fp32"
    if how.engine == "onnx" and not able:
        raise UsageError(
            "--engine onnx computes on the CPU in fp32; leave out --engine, or --device, --require-gpu and --precision."
        )
    if how.engine != "auto":
        return how.engine == "onnx"
    installed = find_spec("onnxruntime") is not None
    return able and drawn and installed and (how.device == "cpu" or how.few or not _may_have_gpu())


def _may_have_gpu() -> bool:
    """Return whether to ask torch for a GPU, which takes seconds."""
    return sys.platform != "linux" or any(Path(device).exists() for device in _GPUS)
