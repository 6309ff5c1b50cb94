"""A torch module on a CPU or a GPU."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from indexer.domain.errors import DeviceUnavailable
from models.inference.device import expand_device
from models.inference.engines.replicated import ReplicatedEngine

if TYPE_CHECKING:
    from indexer.domain.types import Pixels
    from models.inference.engines.base import Engine, Outputs

_log = logging.getLogger(__name__)

_BATCH_SIZES = {"cpu": 16, "mps": 64}
"""On a CPU larger batches are slower because of memory, smaller ones because of overhead: bench/results/fidelity.md."""

_GPU_BATCH_SIZES, _MIN_SPEEDUP = (32, 64, 128, 256, 512), 1.05
"""Batch sizes to measure on a GPU; the search stops at the first with less than this speed-up per image."""

_STREAMS = {"cpu": 0, "mps": 1, "cuda": 2}
"""Two on a GPU: it computes one batch while the next one is copied."""

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine:
    """Implements `models.inference.engines.base.Engine`, with channels last.

    `module` takes uint8 images, (N, side, side, 3), and returns two tensors. A `batch_size` of 0 chooses one for the device (on a
    GPU by measuring); if memory runs out, the size is halved for good and the batch is repeated. A `precision` other than "fp32"
    switches on torch autocast.
    """

    name = "torch"

    def __init__(self, module: nn.Module, device: torch.device, side: int, batch_size: int = 0, precision: str = "fp32") -> None:
        self._module = module.eval().requires_grad_(False)
        self._module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = device
        self._precision = PRECISIONS[precision]
        self._batch_size = batch_size or _BATCH_SIZES.get(device.type) or self._measured(side)

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
        found: list[Outputs] = []
        start = 0
        while start < len(pixels):
            batch = pixels[start : start + self._batch_size]
            try:
                found.append(self._forward(batch))
            except torch.OutOfMemoryError:
                self._halve(len(batch))
                continue
            start += len(batch)
        first, second = zip(*found, strict=True)
        return np.concatenate(first), np.concatenate(second)

    def _measured(self, side: int) -> int:
        """Return the smallest batch size that larger ones hardly beat."""

        def seconds(size: int) -> float:
            pixels = np.zeros((size, side, side, 3), dtype=np.uint8)
            self._forward(pixels)
            started = time.perf_counter()
            self._forward(pixels)
            return time.perf_counter() - started

        return fastest_batch(seconds) or _GPU_BATCH_SIZES[0]

    @torch.inference_mode()
    def _forward(self, pixels: Pixels) -> Outputs:
        given = torch.from_numpy(np.require(pixels, requirements=("C", "W")))
        if self._device.type == "cuda":
            # Pinned memory is copied while the GPU computes the previous batch.
            given = given.pin_memory()
        with torch.autocast(self._device.type, self._precision, enabled=self._precision is not torch.float32):
            first, second = self._module(given.to(self._device, non_blocking=True))
        return first.float().cpu().numpy(), second.float().cpu().numpy()

    def _halve(self, failed: int) -> None:
        if failed == 1:
            raise DeviceUnavailable(f"The device {self.device} has too little free memory for one image.")
        self._batch_size = failed // 2
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        _log.warning("Out of memory on %s: continuing with %d images per batch.", self.device, self._batch_size)


def torch_engine(
    build: Callable[[], nn.Module], device: torch.device, side: int, batch_size: int = 0, precision: str = "fp32"
) -> Engine:
    """Open a module on a device, or on each of the devices that it stands for; arguments are those of `TorchEngine`."""
    engines = [TorchEngine(build(), one, side, batch_size, precision) for one in expand_device(device)]
    return engines[0] if len(engines) == 1 else ReplicatedEngine(engines)


def fastest_batch(seconds: Callable[[int], float]) -> int:
    """Return the smallest batch size that larger ones hardly beat, 0 if none fits; `seconds` computes a batch of a size."""
    best, rate = 0, 0.0
    for size in _GPU_BATCH_SIZES:
        try:
            now = size / seconds(size)
        except torch.OutOfMemoryError:
            break
        if best and now < _MIN_SPEEDUP * rate:
            break
        best, rate = size, now
    return best
