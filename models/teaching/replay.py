"""Replay sets: embeddings of training images in a checkpoint, so that teaching does not make a model forget them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from indexer.domain.models import FEEL, LOOK
from models.architectures.registry import architecture
from models.checkpoint import MEMORY
from models.scaling import EMBEDDING_LENGTH, SHARE
from models.style_baseline import WORD
from models.teaching.fit import one_hot
from models.teaching.linear_head import Examples, Head

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.types import Floats, Halves, Ids
    from models.style_baseline import StyleBaseline

SIZE = 2000
"""Embeddings in a replay set: 1 MB at 256 numbers each."""


def build_replay_set(vectors: Floats, labels: Ids) -> dict[str, Tensor]:
    """Return tensors for a checkpoint: embeddings, (N, embedding size), as float16, and their label numbers, (N,)."""
    return {f"{MEMORY}vectors": torch.from_numpy(vectors).half(), f"{MEMORY}labels": torch.from_numpy(labels).to(torch.uint8)}


def replay_examples(card: ModelCard, state: Mapping[str, Tensor]) -> Examples | None:
    """Read the replay set of a checkpoint; None if it has none."""
    if f"{MEMORY}labels" not in state:
        return None
    labels = state[f"{MEMORY}labels"].numpy().astype(np.int64)
    read = torch.from_numpy(classifier_input(card, state[f"{MEMORY}vectors"].numpy()))
    return Examples(read, one_hot(labels, len(card.labels)))


def reads_stored(card: ModelCard) -> bool:
    """Return whether the classifier of a model reads embeddings as they are stored."""
    return bool(architecture(card.architecture).modifiers & {"unit", "spaces"})


def taught_architecture(card: ModelCard, usual: StyleBaseline | None = None) -> str:
    """Return the architecture of a taught model: its classifier reads the whole embedding, perhaps minus a style baseline."""
    words = ("whole" if card.spaces else "unit", *([] if usual is None else [WORD]))
    return architecture("+".join([card.architecture, *words])).name


def classifier_input(card: ModelCard, embeddings: Floats | Halves, usual: StyleBaseline | None = None) -> Floats:
    """Return stored embeddings, (N, embedding size), as a taught classifier reads them: float32, (N, embedding size).

    `usual` is a style baseline, which is subtracted from the expression part.
    """
    read = embeddings.astype(np.float32)
    if usual is not None:
        read[:, card.space_slice(FEEL)] -= usual.expected_expression(read[:, card.space_slice(LOOK)])
    if card.spaces:
        read[:, card.space_slice(LOOK)] *= SHARE
    return read


def extract_head(card: ModelCard, state: Mapping[str, Tensor]) -> Head:
    """Return the last layer of a checkpoint that `reads_stored`, as one that reads the whole embedding."""
    matrix = state["classifier.weight"].float() * EMBEDDING_LENGTH
    unread = card.embedding_size - matrix.shape[1]
    return Head(card.labels, torch.nn.functional.pad(matrix, (0, unread)), state["classifier.bias"].float())


def replace_head(state: Mapping[str, Tensor], head: Head, usual: StyleBaseline | None = None) -> dict[str, Tensor]:
    """Return the weights of a checkpoint with another last layer, which reads the whole embedding minus the baseline, if any."""
    baseline = {} if usual is None else {name: torch.from_numpy(values) for name, values in usual.state().items()}
    return {**state, **baseline, "classifier.weight": head.matrix / EMBEDDING_LENGTH, "classifier.bias": head.bias}
