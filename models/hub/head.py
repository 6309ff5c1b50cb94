"""The layers that moodex puts on a network of a hub, as tensors in NAME.safetensors.

A tagger has the rules of its table of tags, a model that compares images with texts the vectors of its emotions; both have a
calibration. A taught model also has a last layer, `classifier`, which reads embeddings as they are stored, and which replaces
these.
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
    from indexer.domain.types import Floats, Pixels
    from models.hub.emotion_table import TagRules

COLUMNS, WEIGHTS, BASE, THRESHOLD = "tags.columns", "tags.weights", "tags.base", "tags.threshold"
VECTORS, SCALE, BIAS = "emotions.vectors", "emotions.scale", "emotions.bias"
GRAPHS = {"image": "graph.image", "text": "graph.text"}
"""Names of the graphs of the encoders, see `models.hub.linked_graph`."""

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


def zero_shot_head(
    vectors: Floats, scale: float, bias: float | None, graphs: Mapping[str, Pixels]
) -> dict[str, npt.NDArray[Any]]:
    """Return the tensors of a model that compares images with texts, not calibrated yet.

    - `vectors`: of the emotions, at length 1, float32, (labels, embedding size).
    - `scale`, `bias`: the factor and the summand of cosines; without a summand, emotions exclude each other.
    - `graphs`: the graphs of the encoders, uint8, by the keys of `GRAPHS`.
    """
    return {
        # In one dimension, because matrices are stored as float16.
        VECTORS: vectors.ravel(),
        SCALE: np.array([scale], dtype=np.float32),
        **({} if bias is None else {BIAS: np.array([bias], dtype=np.float32)}),
        **{GRAPHS[name]: graph for name, graph in graphs.items()},
        TEMPERATURE: np.ones(1, dtype=np.float32),
        OFFSET: np.zeros(len(vectors), dtype=np.float32),
    }


def head_shapes(card: ModelCard, state: Mapping[str, npt.NDArray[Any]]) -> tuple[dict[str, tuple[int, ...]], frozenset[str]]:
    """Return the shapes that the tensors of a model of a hub must have, and the names of those that hold integers."""
    shapes: dict[str, tuple[int, ...]] = {}
    labels = len(card.labels)
    if is_taught(card):
        shapes |= {LAYER[0]: (labels, card.embedding_size), LAYER[1]: (labels,)}
    # Teaching adds emotions to the last layer only.
    rows = state[OFFSET].size if is_taught(card) and OFFSET in state else labels
    calibration: dict[str, tuple[int, ...]] = {TEMPERATURE: (1,), OFFSET: (rows,)}
    if VECTORS in state:
        graphs = {name: (state[name].size,) for name in GRAPHS.values() if name in state}
        bias: dict[str, tuple[int, ...]] = {BIAS: (1,)} if BIAS in state else {}
        shapes |= {VECTORS: (rows * card.embedding_size,), SCALE: (1,), **bias, **graphs, **calibration}
    elif not is_taught(card) or COLUMNS in state:
        count = state[COLUMNS].size if COLUMNS in state else 0
        shapes |= {COLUMNS: (count,), WEIGHTS: (rows, count), BASE: (rows,), THRESHOLD: (1,), **calibration}
    return shapes, frozenset({COLUMNS, *GRAPHS.values()} & shapes.keys())


def is_taught(card: ModelCard) -> bool:
    """Return whether a model of a hub has a last layer of moodex, which reads embeddings as they are stored."""
    return "unit" in modifiers_of(card.architecture)


def tag_probabilities(state: Mapping[str, npt.NDArray[Any]], tags: Floats, embeddings: Floats) -> Floats:
    """Return the probabilities of emotions, float32, (N, labels), by a tagger.

    `tags` are the probabilities of all tags, float32, (N, tags); `embeddings` unit vectors, float32, (N, embedding size).
    """
    if LAYER[0] in state:
        return _taught(state, embeddings)
    return _calibrated_softmax(state, evidence_logits(tags[:, state[COLUMNS]], state[WEIGHTS], state[BASE]))


def zero_shot_probabilities(state: Mapping[str, npt.NDArray[Any]], embeddings: Floats) -> Floats:
    """Return the probabilities of emotions, float32, (N, labels), for unit vectors, float32, (N, embedding size)."""
    if LAYER[0] in state:
        return _taught(state, embeddings)
    vectors = state[VECTORS].reshape(-1, embeddings.shape[1])
    logits = multiply_rows(embeddings, vectors.T) * state[SCALE]
    if BIAS in state:  # each emotion has a probability by itself, as each tag of a tagger has
        logits = -np.logaddexp(np.float32(0), -(logits + state[BIAS]))
    return _calibrated_softmax(state, logits)


def _taught(state: Mapping[str, npt.NDArray[Any]], embeddings: Floats) -> Floats:
    return _softmax(multiply_rows(np.float32(EMBEDDING_LENGTH) * embeddings, state[LAYER[0]].T) + state[LAYER[1]])


def _calibrated_softmax(state: Mapping[str, npt.NDArray[Any]], logits: Floats) -> Floats:
    return _softmax(logits / state[TEMPERATURE] + state[OFFSET])


def _softmax(logits: Floats) -> Floats:
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
