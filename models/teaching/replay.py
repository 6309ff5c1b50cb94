"""Replay sets, and the conversion between a checkpoint and a `Head`.

A replay set holds embeddings of training images in the checkpoint, so that teaching does not make a model forget them. A `Head`
is the last layer of a checkpoint, applied to stored embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from models.architectures.registry import architecture
from models.checkpoint import MEMORY
from models.inference.embedding_scorer import REPLAY_VECTORS, classifier_input
from models.scaling import EMBEDDING_LENGTH
from models.style_baseline import MODIFIER
from models.teaching.fit import one_hot
from models.teaching.linear_head import Examples, Head

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.types import Floats, Ids
    from models.style_baseline import StyleBaseline

REPLAY_SET_SIZE = 2000
"""Most embeddings in a replay set: 1 MB at 256 numbers each."""


def build_replay_set(vectors: Floats, labels: Ids) -> dict[str, Tensor]:
    """Return the tensors of a replay set by their names in a checkpoint.

    `vectors` are embeddings, float32, (N, embedding size), and become float16; `labels` are label numbers, int64, (N,), and
    become uint8.
    """
    return {REPLAY_VECTORS: torch.from_numpy(vectors).half(), f"{MEMORY}labels": torch.from_numpy(labels).to(torch.uint8)}


def replay_examples(card: ModelCard, state: Mapping[str, Tensor]) -> Examples | None:
    """Return the replay set in the tensors of a checkpoint as inputs of a head; None if there is no replay set."""
    if f"{MEMORY}labels" not in state:
        return None
    labels = state[f"{MEMORY}labels"].numpy().astype(np.int64)
    inputs = torch.from_numpy(classifier_input(card, state[REPLAY_VECTORS].numpy()))
    return Examples(inputs, one_hot(labels, len(card.labels)))


def reads_stored(card: ModelCard) -> bool:
    """Return whether the classifier of a model reads embeddings as they are stored, not the features before them."""
    return bool(architecture(card.architecture).modifiers & {"unit", "spaces"})


def taught_architecture(card: ModelCard, baseline: StyleBaseline | None = None) -> str:
    """Return the name of the architecture of a taught model.

    Its classifier reads the whole embedding, minus a style baseline if there is one.
    """
    modifiers = ("whole" if card.spaces else "unit", *([] if baseline is None else [MODIFIER]))
    return architecture("+".join([card.architecture, *modifiers])).name


def extract_head(card: ModelCard, state: Mapping[str, Tensor]) -> Head:
    """Return the last layer of a checkpoint as a head on the whole embedding.

    Requires `reads_stored`. If the layer reads only the expression, the weights of the appearance are 0.
    """
    matrix = state["classifier.weight"].float() * EMBEDDING_LENGTH
    unread = card.embedding_size - matrix.shape[1]
    return Head(card.labels, torch.nn.functional.pad(matrix, (0, unread)), state["classifier.bias"].float())


def replace_head(state: Mapping[str, Tensor], head: Head, baseline: StyleBaseline | None = None) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint with another last layer.

    The tensors of a style baseline are added if there is one. The architecture of the result is `taught_architecture`.
    """
    added = {} if baseline is None else {name: torch.from_numpy(values) for name, values in baseline.state().items()}
    return {**state, **added, "classifier.weight": head.matrix / EMBEDDING_LENGTH, "classifier.bias": head.bias}
