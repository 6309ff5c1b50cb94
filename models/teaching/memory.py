"""What a trained model keeps of the pictures it learned from, so that teaching it something new does not make it forget them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from indexer.domain import LOOK
from models.checkpoint import MEMORY
from models.network import LENGTH
from models.registry import architecture
from models.spaces import SHARE
from models.teaching.head import Examples, Head
from models.teaching.teach import one_hot

if TYPE_CHECKING:
    from indexer.domain import Floats, Halves, Ids, ModelCard

SIZE = 2000
"""Embeddings that are kept: with 256 numbers each a megabyte."""


def remember(vectors: Floats, labels: Ids) -> dict[str, Tensor]:
    """Tensors for a checkpoint: embeddings, (N, embedding size), as float16, with their label numbers, (N,)."""
    return {f"{MEMORY}vectors": torch.from_numpy(vectors).half(), f"{MEMORY}labels": torch.from_numpy(labels).to(torch.uint8)}


def recall(card: ModelCard, state: Mapping[str, Tensor]) -> Examples | None:
    """What a checkpoint remembers; None for one that remembers nothing."""
    if f"{MEMORY}labels" not in state:
        return None
    labels = state[f"{MEMORY}labels"].numpy().astype(np.int64)
    read = torch.from_numpy(as_read(card, state[f"{MEMORY}vectors"].numpy()))
    return Examples(read, one_hot(labels, len(card.labels)))


def reads_stored(card: ModelCard) -> bool:
    """Whether a model's classifier reads embeddings as they are stored."""
    return bool(architecture(card.architecture).words & {"unit", "spaces"})


def taught_architecture(card: ModelCard) -> str:
    """The architecture of a model once it was taught: its classifier reads all of the stored embedding."""
    return architecture(f"{card.architecture}+{'whole' if card.spaces else 'unit'}").name


def as_read(card: ModelCard, embeddings: Floats | Halves) -> Floats:
    """Stored embeddings, (N, embedding size), as a taught classifier reads them: float32, (N, embedding size)."""
    read = embeddings.astype(np.float32)
    if card.spaces:
        read[:, card.columns(LOOK)] *= SHARE
    return read


def head_of(card: ModelCard, state: Mapping[str, Tensor]) -> Head:
    """The last layer of a checkpoint that `reads_stored`, as one that reads all of the embedding."""
    matrix = state["classifier.weight"].float() * LENGTH
    unread = card.embedding_size - matrix.shape[1]
    return Head(card.labels, torch.nn.functional.pad(matrix, (0, unread)), state["classifier.bias"].float())


def with_head(state: Mapping[str, Tensor], head: Head) -> dict[str, Tensor]:
    """A checkpoint's weights with another last layer, which reads all of the embedding."""
    return {**state, "classifier.weight": head.matrix / LENGTH, "classifier.bias": head.bias}
