"""The ports for vector indexes and their storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.types import Floats, Halves, Ids, Pixels


NOT_THE_MODELS = 255
"""Stands for an emotion that is not one of the model's labels."""


class VectorRows(NamedTuple):
    """N predictions as the vector index needs them.

    - `ids`: int64, (N,), ascending.
    - `emotions`: uint8, (N,), positions in the model's labels, or `NOT_THE_MODELS` for an emotion that only users assigned.
    - `scores`: float32, (N,), probabilities of these emotions.
    - `vectors`: float16, (N, D): whole embeddings from the store; in an index, their appearance part.
    """

    ids: Ids
    emotions: Pixels
    scores: Floats
    vectors: Halves


class Generation(NamedTuple):
    """A version of a model's predictions: the last id, and a token that no other version has."""

    last_id: int
    token: str


class VectorFilter(NamedTuple):
    """A filter of the predictions that a search may return.

    `emotions` are positions in the model's labels; None means any. `exact` compares all of the selected predictions, because
    pages of approximate results would overlap or have gaps.
    """

    emotions: frozenset[int] | None = None
    min_score: float = 0.0
    ids: Ids | None = None
    exact: bool = False


class VectorIndex(Protocol):
    """An index of vectors by inner product."""

    def __len__(self) -> int:
        """Return the number of vectors."""

    def search(self, query: Floats, k: int, within: VectorFilter) -> tuple[Ids, Floats]:
        """Return the k vectors with the largest inner product among the selected ones, best first.

        - `query`: float32, (D,).
        - Returns ids, int64, (n,), and similarities, float32, (n,); n < k only if fewer are selected.

        Exact up to float32 rounding if few vectors are selected or the filter is `exact`. Otherwise one in a hundred may be
        replaced by a slightly less similar one.
        """


class Segment(NamedTuple):
    """A saved index of part of a model's predictions: from the previous segment's last to that of a generation."""

    vectors: VectorIndex
    generation: Generation


class VectorStorage(Protocol):
    """Storage of vector indexes between runs. They are derived data and can be rebuilt."""

    def load(self, card: ModelCard) -> list[Segment]:
        """Load a model's segments, oldest first, up to the first missing or damaged one."""

    def save(self, card: ModelCard, kept: Sequence[Segment], rows: VectorRows, generation: Generation) -> None:
        """Replace the segments by `kept` (the first of the loaded ones) and a new one of `rows`, atomically."""

    def forget(self, card: ModelCard) -> None:
        """Delete a model's segments, if any."""

    def over(self, rows: VectorRows) -> VectorIndex:
        """Build an index of rows in memory."""
