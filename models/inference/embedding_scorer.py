"""The last layer of a model applied to stored embeddings. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.models import APPEARANCE, EXPRESSION
from models.model_card import read_card
from models.safetensors_io import read_arrays
from models.scaling import EMBEDDING_LENGTH, SHARE
from models.style_baseline import load_baseline

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.types import Floats, Halves
    from models.style_baseline import StyleBaseline

REPLAY_VECTORS = "memory.vectors"
"""Name of the embeddings of the replay set in a checkpoint."""


def classifier_input(card: ModelCard, embeddings: Floats | Halves, baseline: StyleBaseline | None = None) -> Floats:
    """Compute the inputs of a taught classifier from stored embeddings.

    `embeddings` is float16 or float32, (N, embedding size); the result float32, (N, embedding size). The style baseline is
    subtracted from the expression part, and the appearance part is multiplied by `SHARE`.
    """
    inputs = embeddings.astype(np.float32)
    if baseline is not None:
        inputs[:, card.space_slice(EXPRESSION)] -= baseline.expected_expression(inputs[:, card.space_slice(APPEARANCE)])
    if card.spaces:
        inputs[:, card.space_slice(APPEARANCE)] *= SHARE
    return inputs


@dataclass(frozen=True, slots=True)
class EmbeddingScorer:
    """Implements `indexer.ports.teaching.Scorer` with the last layer of a model, and its style baseline if it has one.

    - `matrix`: float32, (labels, inputs); `bias`: float32, (labels,). The layer may read the expression part only.
    - `mean_logits`: mean logits of the replay set, float32, (labels,); zeros without one, as if the model preferred no label.
    """

    card: ModelCard
    matrix: Floats
    bias: Floats
    baseline: StyleBaseline | None
    mean_logits: Floats

    @classmethod
    def from_tensors(cls, card: ModelCard, tensors: Mapping[str, Floats]) -> EmbeddingScorer:
        """Take the scorer from the tensors of a checkpoint, float32 arrays by name, whose classifier reads stored embeddings."""
        matrix, bias = tensors["classifier.weight"] * np.float32(EMBEDDING_LENGTH), tensors["classifier.bias"]
        scorer = cls(card, matrix, bias, load_baseline(tensors), np.zeros(len(card.labels), dtype=np.float32))
        replayed = tensors.get(REPLAY_VECTORS)
        if replayed is None:
            return scorer
        return cls(card, matrix, bias, scorer.baseline, scorer.logits(replayed).mean(axis=0))

    def logits(self, embeddings: Floats | Halves) -> Floats:
        """Return the logits, float32, (N, labels), of stored embeddings, float16 or float32, (N, embedding size)."""
        inputs = classifier_input(self.card, embeddings, self.baseline)[:, : self.matrix.shape[1]]
        logits: Floats = inputs @ self.matrix.T + self.bias
        return logits

    def score(self, embeddings: Floats | Halves) -> Floats:
        """Return the probabilities of these logits, float32, (N, labels); rows sum to 1."""
        logits = self.logits(embeddings)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: Floats = odds / odds.sum(axis=1, keepdims=True)
        return probabilities


def open_scorer(weights: Path) -> EmbeddingScorer:
    """Read the scorer of a checkpoint whose classifier reads stored embeddings. Raises ModelUnavailable."""
    card = read_card(weights)
    return EmbeddingScorer.from_tensors(card, read_arrays(weights, card.weights_digest))
