"""Opening of models with the fastest engine for this machine, or with the engine that the user chose."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.errors import UsageError
from indexer.system.optional import has_torch, require_torch
from models.inference.engines.onnx_graph import find_graph
from models.model_card import read_card

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.ports.models import Classifier, FaceDetector

_GPU_DEVICE_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""Device files of a GPU on Linux: NVIDIA, Windows Subsystem for Linux, AMD."""


@dataclass(frozen=True, slots=True)
class ComputeOptions:
    """How to compute networks.

    - `device`, `require_gpu`: as in `models.inference.device.select_device`.
    - `batch_size`: images per batch; 0 chooses a number for the device.
    - `threads`: CPU threads that compute each batch; 0 uses all cores.
    - `engine`: "auto", "torch" or "onnx". `precision`: "fp32", "bf16" or "fp16".
    - `few`: only one or two images will be classified, so a fast start matters more than speed.
    """

    device: str = "auto"
    require_gpu: bool = False
    batch_size: int = 0
    threads: int = 0
    engine: str = "auto"
    precision: str = "fp32"
    few: bool = False


def open_classifier(path: Path, options: ComputeOptions) -> Classifier:
    """Open the checkpoint at `path`.

    Raises ModelUnavailable, DeviceUnavailable, MissingExtra, and UsageError for options that contradict each other.
    """
    from models.inference.classifier import OnnxClassifier, TorchClassifier

    card = read_card(path)
    refuse_blend(card)
    if card.hub is not None:
        from models.hub.kinds import open_hub_classifier

        return open_hub_classifier(path, options)
    if uses_onnx(options, has_graph=find_graph(card.architecture, card.input) is not None):
        return OnnxClassifier.open(path, options.batch_size, options.threads)
    _require_torch(options, card.name)
    return TorchClassifier.open(path, options.device, options.require_gpu, options.batch_size, options.threads, options.precision)


def check_engine(card: ModelCard, options: ComputeOptions) -> None:
    """Raise MissingExtra if the network of a card needs torch, which is not installed. Nothing is loaded."""
    if has_torch():
        return
    if card.hub is not None:
        from models.hub.layout import TIMM_TAGGER

        needs_torch = card.hub.kind == TIMM_TAGGER
    else:
        needs_torch = not uses_onnx(options, has_graph=find_graph(card.architecture, card.input) is not None)
    if needs_torch:
        _require_torch(options, card.name)


def refuse_blend(card: ModelCard) -> None:
    """Raise UsageError for the card of a blend, which has no network."""
    if card.members:
        models = " and ".join(f"--model {name}" for name, _ in card.members)
        raise UsageError(f"{card.name!r} is a blend, which reads no images itself; use {models}, which it follows.")


def open_face_detector(options: ComputeOptions) -> FaceDetector:
    """Open the shipped face detector, always in full precision. Raises the errors of `open_classifier`."""
    from models.faces.detector import has_graphs, onnx_face_detector, torch_face_detector

    if uses_onnx(replace(options, precision="fp32"), has_graph=has_graphs()):
        return onnx_face_detector(threads=options.threads)
    _require_torch(options, "moodex-faces")
    return torch_face_detector(device=options.device)


def uses_onnx(options: ComputeOptions, *, has_graph: bool) -> bool:
    """Return whether to compute with ONNX Runtime; `has_graph`: moodex has an ONNX graph of the network.

    Raises UsageError if the user chose ONNX Runtime and a device or precision that it does not support.
    """
    is_possible = options.device in ("auto", "cpu") and not options.require_gpu and options.precision == "fp32"
    if options.engine == "onnx" and not is_possible:
        raise UsageError(
            "--engine onnx computes on the CPU in fp32; leave out --engine, or --device, --require-gpu and --precision."
        )
    if options.engine != "auto":
        return options.engine == "onnx"
    is_installed = find_spec("onnxruntime") is not None
    is_fastest = options.device == "cpu" or options.few or not (has_torch() and may_have_gpu())
    return is_possible and has_graph and is_installed and is_fastest


def _require_torch(options: ComputeOptions, model: str) -> None:
    """Raise MissingExtra if torch is not installed; the error names the option, or else the model, that needs it."""
    given = {
        "--engine torch": options.engine == "torch",
        f"--device {options.device}": options.device not in ("auto", "cpu"),
        "--require-gpu": options.require_gpu,
        f"--precision {options.precision}": options.precision != "fp32",
    }
    require_torch(next((option for option, is_given in given.items() if is_given), f"The model {model!r}"))


def may_have_gpu() -> bool:
    """Return whether this machine may have a GPU, without the import of torch, which takes seconds."""
    return sys.platform != "linux" or any(Path(device).exists() for device in _GPU_DEVICE_FILES)
