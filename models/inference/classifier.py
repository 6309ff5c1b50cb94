"""Trained networks as classifiers, which compute calibrated probabilities and embeddings of images.

This module imports torch only to compute with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from indexer.domain.errors import ModelUnavailable
from indexer.domain.models import APPEARANCE, EXPRESSION, ModelCard, with_precision
from indexer.domain.predictions import Scores
from models import style_baseline
from models.architectures.modifiers import modifiers_of
from models.inference.engines.onnx import OnnxEngine
from models.inference.engines.onnx_graph import Graph, find_graph, weights_for
from models.inference.row_products import multiply_rows
from models.model_card import read_card
from models.safetensors_io import read_arrays
from models.scaling import EMBEDDING_LENGTH

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from indexer.domain.types import Floats, Pixels
    from models.inference.engines.base import Engine


class EngineClassifier:
    """The base class of classifiers whose network an engine computes."""

    def __init__(self, card: ModelCard, engine: Engine) -> None:
        self.card = card
        self._engine = engine

    @property
    def device(self) -> str:
        return self._engine.device

    @property
    def engine(self) -> str:
        return self._engine.name

    @property
    def batch_size(self) -> int:
        return self._engine.batch_size

    @property
    def streams(self) -> int:
        return self._engine.streams


class TorchClassifier(EngineClassifier):
    """Implements `indexer.ports.models.Classifier` with torch and fused batch norms.

    `state` are the weights by name; `batch_size` is as in `engines.pytorch.TorchEngine`.
    """

    def __init__(
        self,
        card: ModelCard,
        state: Mapping[str, Tensor],
        device: torch.device,
        batch_size: int = 0,
    ) -> None:
        from models.inference.engines.pytorch import torch_engine
        from models.inference.module import build_inference_module

        module = partial(build_inference_module, card, state)
        super().__init__(card, torch_engine(module, device, card.input.size, batch_size, card.precision))

    @classmethod
    def open(
        cls,
        path: Path,
        device: str = "auto",
        require_gpu: bool = False,
        batch_size: int = 0,
        threads: int = 0,
        precision: str = "fp32",
    ) -> Self:
        """Open the checkpoint at `path` on a device.

        - `device`, `require_gpu`: as in `models.inference.device.select_device`.
        - `batch_size`, `precision`: as in `engines.pytorch.TorchEngine`.
        - `threads`: threads that compute each batch on a CPU, for the whole process; 0 uses all cores.

        Raises ModelUnavailable and DeviceUnavailable.
        """
        import torch

        from models import checkpoint
        from models.inference.device import select_device, tune_malloc

        selected = select_device(device, require_gpu)
        tune_malloc()
        if threads:
            torch.set_num_threads(threads)
        card, state = checkpoint.load(path)
        return cls(with_precision(card, precision), state, selected, batch_size)

    def classify(self, pixels: Pixels) -> Scores:
        return Scores(*self._engine.run(pixels))


class OnnxClassifier(EngineClassifier):
    """Implements `indexer.ports.models.Classifier` with ONNX Runtime on a CPU.

    The graph computes the input of the last layer and the embeddings. numpy computes the last layer, image by image, so that
    the other images of a batch do not affect its rounding.
    """

    def __init__(self, card: ModelCard, engine: Engine, state: Mapping[str, Floats]) -> None:
        """`state` are the weights by name, float32."""
        super().__init__(card, engine)
        self._matrix, self._bias = state["classifier.weight"], state["classifier.bias"]
        self._baseline = style_baseline.load_baseline(state)
        self._reads_embedding = "unit" in modifiers_of(card.architecture) and not card.spaces

    @classmethod
    def open(cls, path: Path, batch_size: int = 0, threads: int = 0) -> Self:
        """Open the checkpoint at `path`; `threads` compute each batch, 0 uses all cores.

        `batch_size` is as in `engines.onnx.OnnxEngine`. Raises ModelUnavailable, also for an architecture without a graph, and
        MissingExtra if ONNX Runtime is not installed.
        """
        card = read_card(path)
        graph = find_graph(card.architecture, card.input)
        if graph is None:
            raise ModelUnavailable(
                f"moodex has no ONNX graph of {card.architecture} for images of {card.input.size} pixels: use --engine torch."
            )
        state = read_arrays(path, card.weights_digest)
        _check(card, graph, state)
        engine = OnnxEngine(graph.onnx, weights_for(graph, state), threads, batch_size)
        return cls(card, engine, state)

    def classify(self, pixels: Pixels) -> Scores:
        inputs, embeddings = self._engine.run(pixels)
        if self._reads_embedding:
            inputs = EMBEDDING_LENGTH * embeddings
        if self._baseline is not None:
            appearances = embeddings[:, None, self.card.space_slice(APPEARANCE)]
            inputs[:, self.card.space_slice(EXPRESSION)] -= EMBEDDING_LENGTH * np.concatenate(
                [self._baseline.expected_expression(appearance) for appearance in appearances]
            )
        logits = multiply_rows(inputs, self._matrix.T) + self._bias
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return Scores(exponentials / exponentials.sum(axis=1, keepdims=True), embeddings)


def _check(card: ModelCard, graph: Graph, state: Mapping[str, Floats]) -> None:
    """Raise ModelUnavailable if card, graph and weights do not match, or if a value is not finite.

    A quick form of `models.checkpoint_arrays.check`, which also compares names and digests.
    """
    if (card.embedding_size, card.spaces) != (graph.embedding_size, graph.spaces):
        raise ModelUnavailable(f"The card of {card.name!r} describes other embeddings than {card.architecture} computes.")
    for name, shape in (("classifier.weight", (len(card.labels), graph.reads)), ("classifier.bias", (len(card.labels),))):
        if name not in state or state[name].shape != shape:
            raise ModelUnavailable(f"In the model {card.name!r}, {name} is not of the shape {shape} that its labels require.")
    if style_baseline.MODIFIER in modifiers_of(card.architecture):
        for name in (f"{style_baseline.MODIFIER}.looks", f"{style_baseline.MODIFIER}.feels"):
            if name not in state or state[name].shape != (style_baseline.GROUPS, card.embedding_size // 2):
                raise ModelUnavailable(
                    f"The model {card.name!r} lacks its style baseline: {name} is missing or has another shape."
                )
    for name, values in state.items():
        if not np.isfinite(values).all():
            raise ModelUnavailable(f"In the model {card.name!r}, {name} holds values that are not finite numbers.")
