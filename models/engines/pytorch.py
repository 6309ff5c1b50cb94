"""A torch module on a CPU or a GPU."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from indexer.errors import DeviceUnavailable

if TYPE_CHECKING:
    from indexer.domain import Pixels
    from models.engines.engine import Outputs

_log = logging.getLogger(__name__)

_BATCH_SIZES = {"cpu": 16, "mps": 64, "cuda": 128}
_STREAMS = {"cpu": 0, "mps": 1, "cuda": 2}
"""Of a GPU two: while one batch is computed the next is handed over."""

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine:
    """Implements `models.engines.engine.Engine`, with channels last.

    `module` takes uint8 pictures, (N, S, S, 3), and gives two tensors. `batch_size` of 0 takes what suits the device; running out
    of memory halves it for good and tries again. In `precision` other than "fp32" what torch's autocast deems safe is computed
    with fewer digits.
    """

    name = "torch"

    def __init__(self, module: nn.Module, device: torch.device, batch_size: int = 0, precision: str = "fp32") -> None:
        self._module = module.eval().requires_grad_(False)
        self._module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = device
        self._precision = PRECISIONS[precision]
        self._batch_size = batch_size or _BATCH_SIZES[device.type]

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

    @torch.inference_mode()
    def _forward(self, pixels: Pixels) -> Outputs:
        given = torch.from_numpy(np.require(pixels, requirements=("C", "W")))
        if self._device.type == "cuda":
            # Pinned memory is copied while the GPU still computes the batch before.
            given = given.pin_memory()
        with torch.autocast(self._device.type, self._precision, enabled=self._precision is not torch.float32):
            first, second = self._module(given.to(self._device, non_blocking=True))
        return first.float().cpu().numpy(), second.float().cpu().numpy()

    def _halve(self, failed: int) -> None:
        if failed == 1:
            raise DeviceUnavailable(f"The device {self.device} has too little free memory for even one picture.")
        self._batch_size = failed // 2
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        _log.warning("Out of memory on %s: going on with %d pictures at a time.", self.device, self._batch_size)
