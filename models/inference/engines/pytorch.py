"""The engine of torch on a CPU or a GPU."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from indexer.domain.errors import DeviceUnavailable
from models.inference.device import expand_device, select_device, tune_malloc
from models.inference.engines.replicated import ReplicatedEngine

if TYPE_CHECKING:
    from indexer.domain.types import Pixels
    from models.inference.engines.base import Engine, Outputs
    from models.inference.loader import ComputeOptions

_log = logging.getLogger(__name__)

_BATCH_SIZES = {"cpu": 16, "mps": 64}
"""Images per batch. On a CPU, memory slows larger batches down and overhead smaller ones: bench/results/fidelity.md."""

_GPU_BATCH_SIZES = (32, 64, 128, 256, 512)
"""Images per batch that are measured on a GPU."""

_MIN_SPEEDUP = 1.05
"""The search ends at a batch size that computes less than this many times the images per second of the previous one."""

_STREAMS = {"cpu": 0, "mps": 1, "cuda": 2}
"""Batches in parallel by device: two on a GPU, which computes one batch while the next one is copied."""

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Number type of each precision."""


class TorchEngine:
    """Implements `models.inference.engines.base.Engine` with torch, in the memory format channels last.

    If memory runs out, the batch size is halved permanently and the batch is repeated.
    """

    name = "torch"

    def __init__(self, module: nn.Module, device: torch.device, side: int, batch_size: int = 0, precision: str = "fp32") -> None:
        """Move a module to a device, in evaluation mode.

        - `module`: takes images, uint8, (N, side, side, 3), and returns two tensors.
        - `batch_size`: images per batch; 0 chooses a number for the device, on a GPU by measurement.
        - `precision`: one of `PRECISIONS`; other than "fp32", torch autocast computes in it.
        """
        self._module = module.eval().requires_grad_(False)
        self._module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = device
        self._precision = PRECISIONS[precision]
        self._batch_size = batch_size or _BATCH_SIZES.get(device.type) or self._measured_batch_size(side)

    @property
    def device(self) -> str:
        return str(self._device)

    @property
    def batch_size(self) -> int:
        return self._batch_size

    @property
    def streams(self) -> int:
        return _STREAMS[self._device.type]

    def run(self, pixels: Pixels) -> Outputs:
        outputs: list[Outputs] = []
        start = 0
        while start < len(pixels):
            batch = pixels[start : start + self._batch_size]
            try:
                outputs.append(self._forward(batch))
            except torch.OutOfMemoryError:
                self._halve(len(batch))
                continue
            start += len(batch)
        first, second = zip(*outputs, strict=True)
        return np.concatenate(first), np.concatenate(second)

    def _measured_batch_size(self, side: int) -> int:
        """Return `fastest_batch` for this device, or the smallest batch size if none fits the memory."""

        def seconds(size: int) -> float:
            pixels = np.zeros((size, side, side, 3), dtype=np.uint8)
            self._forward(pixels)
            started = time.perf_counter()
            self._forward(pixels)
            return time.perf_counter() - started

        return fastest_batch(seconds) or _GPU_BATCH_SIZES[0]

    @torch.inference_mode()
    def _forward(self, pixels: Pixels) -> Outputs:
        images = torch.from_numpy(np.require(pixels, requirements=("C", "W")))
        if self._device.type == "cuda":
            # Pinned memory can be copied while the GPU computes the previous batch.
            images = images.pin_memory()
        with torch.autocast(self._device.type, self._precision, enabled=self._precision is not torch.float32):
            first, second = self._module(images.to(self._device, non_blocking=True))
        return first.float().cpu().numpy(), second.float().cpu().numpy()

    def _halve(self, failed_size: int) -> None:
        """Halve the batch size, after a batch of `failed_size` images did not fit. Raises DeviceUnavailable at 1."""
        if failed_size == 1:
            raise DeviceUnavailable(f"The device {self.device} has too little free memory for one image.")
        self._batch_size = failed_size // 2
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        _log.warning("Out of memory on %s: continuing with %d images per batch.", self.device, self._batch_size)


def torch_engine(
    build: Callable[[], nn.Module], device: torch.device, side: int, batch_size: int = 0, precision: str = "fp32"
) -> Engine:
    """Open a network on a device, or on all GPUs for "cuda" without a number.

    `build` returns a new module for each device; the other arguments are those of `TorchEngine`.
    """
    engines = [TorchEngine(build(), each, side, batch_size, precision) for each in expand_device(device)]
    return engines[0] if len(engines) == 1 else ReplicatedEngine(engines)


def open_torch_engine(build: Callable[[], nn.Module], side: int, options: ComputeOptions) -> Engine:
    """Open a network on the device, and with the CPU threads, that options choose; see `torch_engine`.

    Raises DeviceUnavailable.
    """
    tune_malloc()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = select_device(options.device, options.require_gpu)
    return torch_engine(build, device, side, options.batch_size, options.precision)


def fastest_batch(seconds: Callable[[int], float]) -> int:
    """Return the smallest batch size after which images per second hardly increase.

    `seconds` measures the time in seconds of a batch of a size; it raises torch.OutOfMemoryError if the batch does not fit the
    memory. Returns 0 if no batch size fits.
    """
    best_size, best_rate = 0, 0.0
    for size in _GPU_BATCH_SIZES:
        try:
            rate = size / seconds(size)
        except torch.OutOfMemoryError:
            break
        if best_size and rate < _MIN_SPEEDUP * best_rate:
            break
        best_size, best_rate = size, rate
    return best_size
