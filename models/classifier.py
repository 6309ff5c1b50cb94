"""A trained network on a device: pictures in, calibrated probabilities and embeddings out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor

from indexer.domain import ModelCard, Scores
from indexer.errors import DeviceUnavailable
from models import checkpoint
from models.device import choose_device, keep_memory
from models.network import Normalised
from models.registry import architecture

if TYPE_CHECKING:
    from indexer.domain import Pixels

_log = logging.getLogger(__name__)

_BATCH_SIZES = {"cpu": 16, "mps": 64, "cuda": 128}
_STREAMS = {"cpu": 0, "mps": 1, "cuda": 2}
"""Of a GPU two: while one batch is computed the next is handed over."""


def assemble(card: ModelCard, state: Mapping[str, Tensor]) -> Normalised:
    """A checkpoint as one module for evaluation, on the CPU."""
    with torch.device("meta"):
        network = architecture(card.architecture).build(len(card.labels), card.input.size)
    network.load_state_dict(dict(state), assign=True)
    network.fold()
    network.requires_grad_(False)
    return Normalised(network, card.input.mean, card.input.std).eval()


class TorchClassifier:
    """Implements `indexer.ports.Classifier`. Computes in float32, with batch norms folded and channels last.

    `batch_size` of 0 takes what suits the device. Out of memory halves it for good and tries again.
    """

    def __init__(self, card: ModelCard, state: Mapping[str, Tensor], device: torch.device, batch_size: int = 0) -> None:
        self._model = assemble(card, state)
        self._model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = device
        self._batch_size = batch_size or _BATCH_SIZES[device.type]
        self.card = card

    @classmethod
    def open(cls, path: Path, device: str = "auto", require_gpu: bool = False, batch_size: int = 0, threads: int = 0) -> Self:
        """The checkpoint at `path` on a device. On a CPU each batch is computed by so many threads (0: as many as there are
        cores); that holds for all of the process. Raises ModelUnavailable and DeviceUnavailable.
        """
        chosen = choose_device(device, require_gpu)
        keep_memory()
        if threads:
            torch.set_num_threads(threads)
        return cls(*checkpoint.load(path), chosen, batch_size)

    @property
    def device(self) -> str:
        return str(self._device)

    @property
    def batch_size(self) -> int:
        return self._batch_size

    @property
    def streams(self) -> int:
        return _STREAMS[self._device.type]

    def classify(self, pixels: Pixels) -> Scores:
        probabilities, embeddings = [], []
        start = 0
        while start < len(pixels):
            batch = pixels[start : start + self._batch_size]
            try:
                scores = self._forward(batch)
            except torch.OutOfMemoryError:
                self._halve(len(batch))
                continue
            probabilities.append(scores.probabilities)
            embeddings.append(scores.embeddings)
            start += len(batch)
        return Scores(np.concatenate(probabilities), np.concatenate(embeddings))

    @torch.inference_mode()
    def _forward(self, pixels: Pixels) -> Scores:
        given = torch.from_numpy(np.require(pixels, requirements=("C", "W")))
        probabilities, embeddings = self._model(given.to(self._device))
        return Scores(probabilities.cpu().numpy(), embeddings.cpu().numpy())

    def _halve(self, failed: int) -> None:
        if failed == 1:
            raise DeviceUnavailable(f"The device {self.device} has too little free memory for even one picture.")
        self._batch_size = failed // 2
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        _log.warning("Out of memory on %s: going on with %d pictures at a time.", self.device, self._batch_size)
