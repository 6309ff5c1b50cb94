"""Taggers of a hub as classifiers: emotions by the table of tags, or by a taught layer, and the tags themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.domain.predictions import Scores
from models.hub.head import THRESHOLD, check_columns, tag_probabilities
from models.inference.classifier import EngineClassifier

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.models import ModelCard
    from indexer.domain.types import Floats, Pixels
    from models.inference.engines.base import Engine


class TaggerClassifier(EngineClassifier):
    """Implements `indexer.ports.models.Classifier` with a tagger.

    `engine` computes the probabilities of all tags, (N, tags), and embeddings of length 1. `state` are the tensors of
    `models.hub.head`, `tags` the names of the tags.
    """

    def __init__(self, card: ModelCard, engine: Engine, state: Mapping[str, npt.NDArray[Any]], tags: Sequence[str]) -> None:
        super().__init__(card, engine)
        check_columns(card, state, len(tags))
        self._state = state
        self._tags = tags
        self._threshold = float(state[THRESHOLD][0])

    def classify(self, pixels: Pixels) -> Scores:
        tags, embeddings = self._engine.run(pixels)
        return Scores(tag_probabilities(self._state, tags, embeddings), embeddings, [self._likely(row) for row in tags])

    def _likely(self, row: Floats) -> dict[str, float]:
        """Return the tags of an image whose probability reaches the threshold, the most probable first."""
        chosen = np.flatnonzero(row >= self._threshold)
        chosen = chosen[np.argsort(-row[chosen], kind="stable")]
        return {self._tags[number]: min(1.0, float(row[number])) for number in chosen.tolist()}
