"""The layers that moodex puts on a network of a hub, as tensors in NAME.safetensors.

A tagger has the rules of its table of tags and a calibration. A taught model also has a last layer, `classifier`, which reads
embeddings as they are stored, and which replaces the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.domain.errors import ModelUnavailable
from models.architectures.modifiers import modifiers_of
from models.hub.emotion_table import evidence_logits
from models.inference.row_products import multiply_rows
from models.scaling import EMBEDDING_LENGTH

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.models import ModelCard
    from indexer.domain.types import Floats
    from models.hub.emotion_table import TagRules

COLUMNS, WEIGHTS, BASE, THRESHOLD = "tags.columns", "tags.weights", "tags.base", "tags.threshold"
TEMPERATURE, OFFSET = "calibration.temperature", "calibration.offset"
LAYER = ("classifier.weight", "classifier.bias")


def tagger_head(rules: TagRules, threshold: float) -> dict[str, npt.NDArray[Any]]:
    """Return the tensors of a tagger that is not calibrated yet; `threshold` is the least probability of a stored tag."""
    return {
        COLUMNS: rules.columns,
        WEIGHTS: rules.weights,
        BASE: rules.base,
        THRESHOLD: np.array([threshold], dtype=np.float32),
        TEMPERATURE: np.ones(1, dtype=np.float32),
        OFFSET: np.zeros(len(rules.labels), dtype=np.float32),
    }


def head_shapes(card: ModelCard, state: Mapping[str, npt.NDArray[Any]]) -> tuple[dict[str, tuple[int, ...]], frozenset[str]]:
    """Return the shapes that the tensors of a model of a hub must have, and the names of those that hold integers."""
    shapes: dict[str, tuple[int, ...]] = {}
    labels = len(card.labels)
    if is_taught(card):
        shapes |= {LAYER[0]: (labels, card.embedding_size), LAYER[1]: (labels,)}
    if not is_taught(card) or COLUMNS in state:
        rows = len(state[BASE]) if is_taught(card) and BASE in state else labels  # teaching adds emotions to the last layer only
        count = state[COLUMNS].size if COLUMNS in state else 0
        shapes |= {COLUMNS: (count,), WEIGHTS: (rows, count), BASE: (rows,), THRESHOLD: (1,), TEMPERATURE: (1,), OFFSET: (rows,)}
    return shapes, frozenset({COLUMNS} & shapes.keys())


def is_taught(card: ModelCard) -> bool:
    """Return whether a model of a hub has a last layer of moodex, which reads embeddings as they are stored."""
    return "unit" in modifiers_of(card.architecture)


def probabilities(state: Mapping[str, npt.NDArray[Any]], tags: Floats, embeddings: Floats) -> Floats:
    """Return the probabilities of emotions, float32, (N, labels).

    `tags` are the probabilities of all tags, float32, (N, tags); `embeddings` unit vectors, float32, (N, embedding size).
    """
    if LAYER[0] in state:
        logits = multiply_rows(np.float32(EMBEDDING_LENGTH) * embeddings, state[LAYER[0]].T) + state[LAYER[1]]
    else:
        logits = evidence_logits(tags[:, state[COLUMNS]], state[WEIGHTS], state[BASE]) / state[TEMPERATURE] + state[OFFSET]
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Floats = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    return result


def calibrated(card: ModelCard, state: Mapping[str, npt.NDArray[Any]], temperature: float, offset: Floats) -> dict[str, Any]:
    """Return tensors whose logits are divided by a temperature and then shifted by offsets, float32, (labels,)."""
    if is_taught(card):
        weight, bias = state[LAYER[0]] / np.float32(temperature), state[LAYER[1]] / np.float32(temperature) + offset
        return {**state, LAYER[0]: weight, LAYER[1]: bias}
    shifted = state[OFFSET] / np.float32(temperature) + offset
    return {**state, TEMPERATURE: state[TEMPERATURE] * np.float32(temperature), OFFSET: shifted.astype(np.float32)}


def check_columns(card: ModelCard, state: Mapping[str, npt.NDArray[Any]], tags: int) -> None:
    """Raise ModelUnavailable if the rules name tags that the network does not have."""
    if COLUMNS in state and state[COLUMNS].size and not 0 <= state[COLUMNS].min() <= state[COLUMNS].max() < tags:
        raise ModelUnavailable(f"The rules of {card.name!r} name tags that its network does not have; add the model again.")
