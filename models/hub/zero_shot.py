"""Models that compare images with texts, as classifiers: emotions by prompts, or by a taught layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from indexer.domain.predictions import Scores
from models.hub.head import zero_shot_probabilities
from models.inference.classifier import EngineClassifier

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.models import ModelCard
    from indexer.domain.types import Pixels
    from models.inference.engines.base import Engine


class ZeroShotClassifier(EngineClassifier):
    """Implements `indexer.ports.models.Classifier` with the image encoder of CLIP or SigLIP.

    `engine` computes features and embeddings of length 1. `state` are the tensors of `models.hub.head`.
    """

    def __init__(self, card: ModelCard, engine: Engine, state: Mapping[str, npt.NDArray[Any]]) -> None:
        super().__init__(card, engine)
        self._state = state

    def classify(self, pixels: Pixels) -> Scores:
        _, embeddings = self._engine.run(pixels)
        return Scores(zero_shot_probabilities(self._state, embeddings), embeddings)
