"""Replay sets, and the conversion between a checkpoint and a `Head`.

A replay set holds embeddings of training images in the checkpoint, so that teaching does not make a model forget them. A `Head`
is the last layer of a checkpoint, applied to stored embeddings. This module imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.architectures.modifiers import modifiers_of, with_modifiers
from models.checkpoint_arrays import MEMORY
from models.inference.embedding_scorer import REPLAY_VECTORS, classifier_input
from models.scaling import EMBEDDING_LENGTH
from models.style_baseline import MODIFIER
from models.teaching.fit import one_hot
from models.teaching.linear_head import Examples, Head

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.types import Floats, Ids
    from models.checkpoint_arrays import Array, Arrays
    from models.style_baseline import StyleBaseline

REPLAY_SET_SIZE = 2000
"""Most embeddings in a replay set: 1 MB at 256 numbers each."""


def build_replay_set(vectors: Floats, labels: Ids) -> dict[str, Array]:
    """Return the tensors of a replay set by their names in a checkpoint.

    `vectors` are embeddings, float32, (N, embedding size), and become float16; `labels` are label numbers, int64, (N,), and
    become uint8.
    """
    return {REPLAY_VECTORS: vectors.astype(np.float16), f"{MEMORY}labels": labels.astype(np.uint8)}


def replay_examples(card: ModelCard, state: Arrays) -> Examples | None:
    """Return the replay set in the tensors of a checkpoint as inputs of a head; None if there is no replay set."""
    if f"{MEMORY}labels" not in state:
        return None
    labels = state[f"{MEMORY}labels"].astype(np.int64)
    return Examples(classifier_input(card, state[REPLAY_VECTORS]), one_hot(labels, len(card.labels)))


def reads_stored(card: ModelCard) -> bool:
    """Return whether the classifier of a model reads embeddings as they are stored, not the features before them."""
    return bool(modifiers_of(card.architecture) & {"unit", "spaces"})


def taught_architecture(card: ModelCard, baseline: StyleBaseline | None = None) -> str:
    """Return the name of the architecture of a taught model.

    Its classifier reads the whole embedding, minus a style baseline if there is one.
    """
    added = {"whole" if card.spaces else "unit", *([] if baseline is None else [MODIFIER])}
    return with_modifiers(card.architecture, added)


def extract_head(card: ModelCard, state: Arrays) -> Head:
    """Return the last layer of a checkpoint as a head on the whole embedding.

    Requires `reads_stored`. If the layer reads only the expression, the weights of the appearance are 0.
    """
    matrix = state["classifier.weight"] * np.float32(EMBEDDING_LENGTH)
    unread = card.embedding_size - matrix.shape[1]
    return Head(card.labels, np.pad(matrix, ((0, 0), (0, unread))), state["classifier.bias"])


def replace_head(state: Arrays, head: Head, baseline: StyleBaseline | None = None) -> dict[str, Array]:
    """Return the tensors of a checkpoint with another last layer.

    The tensors of a style baseline are added if there is one. The architecture of the result is `taught_architecture`.
    """
    added = {} if baseline is None else baseline.state()
    matrix = head.matrix / np.float32(EMBEDDING_LENGTH)
    return {**state, **added, "classifier.weight": matrix, "classifier.bias": head.bias}
