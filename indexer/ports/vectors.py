"""Vectors by similarity, and where they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.types import Floats, Halves, Ids, Pixels


NOT_THE_MODELS = 255
"""In the place of an emotion's position among a model's labels, where it is none of them."""


class VectorRows(NamedTuple):
    """N predictions as the vector index needs them.

    `ids` is int64, (N,), ascending; `emotions` is uint8, (N,), the position of each one's emotion in the model's labels, or
    `NOT_THE_MODELS` for one that only people know; `scores` float32, (N,), its probability; `vectors` float16, (N, D), whole
    embeddings from the store, and in the index the part that says how a picture looks.
    """

    ids: Ids
    emotions: Pixels
    scores: Floats
    vectors: Halves


class Generation(NamedTuple):
    """A state of the predictions of one model: the last one's id, and a token that no other state has."""

    last_id: int
    token: str


class VectorFilter(NamedTuple):
    """Which predictions a search may find: by emotion (positions in the model's labels; None: any), least score, or id; and
    whether all of those are to be compared, as pages that must fit together need it.
    """

    emotions: frozenset[int] | None = None
    min_score: float = 0.0
    ids: Ids | None = None
    exact: bool = False


class VectorIndex(Protocol):
    """Vectors by similarity."""

    def __len__(self) -> int:
        """How many vectors it holds."""

    def search(self, query: Floats, k: int, within: VectorFilter) -> tuple[Ids, Floats]:
        """The k nearest by inner product among those selected, best first: ids int64 (n,), similarities float32 (n,), n <= k.

        `query` is float32, (D,). n < k only if fewer are selected. Exact up to float32 rounding where few are selected, or the
        selection says so; of many, one in a hundred may be missed, for one that is hardly less near.
        """


class Segment(NamedTuple):
    """A kept index of a model's predictions: those after the segment before it, up to the last of a generation."""

    vectors: VectorIndex
    generation: Generation


class VectorStorage(Protocol):
    """Where vector indexes are kept between runs. What is kept is derived: losing it costs time only."""

    def load(self, card: ModelCard) -> list[Segment]:
        """The kept segments of a model, oldest first, up to the first that is missing or damaged in any way."""

    def save(self, card: ModelCard, kept: Sequence[Segment], rows: VectorRows, generation: Generation) -> None:
        """Keep the first of the loaded segments and, after them, one of these rows; all at once."""

    def forget(self, card: ModelCard) -> None:
        """Delete what is kept of a model, if anything."""

    def over(self, rows: VectorRows) -> VectorIndex:
        """An index of these rows in memory."""
