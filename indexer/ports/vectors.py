"""Vector indexes and their storage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.types import Doubles, Floats, Halves, Ids, Pixels


NOT_THE_MODELS = 255
"""The position of an emotion that is not one of the model's labels."""


class VectorRows(NamedTuple):
    """N predictions for a vector index.

    `ids`: int64, (N,), ascending. `emotions`: uint8, (N,), positions in the model's labels, or `NOT_THE_MODELS` for an emotion
    that only labels have. `scores`: float32, (N,). `vectors`: float16, (N, D), whole embeddings from the store; in an index only
    their appearance part.
    """

    ids: Ids
    emotions: Pixels
    scores: Floats
    vectors: Halves


class Generation(NamedTuple):
    """A state of the predictions of a model: the last one's id, and a unique token."""

    last_id: int
    token: str


class VectorFilter(NamedTuple):
    """The predictions that a search may find: by emotion (positions in the model's labels; None: any), minimum score and id.

    `exact`: all of them are compared, as needed for pages that neither overlap nor skip.
    """

    emotions: frozenset[int] | None = None
    min_score: float = 0.0
    ids: Ids | None = None
    exact: bool = False


class VectorIndex(Protocol):
    """A search for similar vectors."""

    def __len__(self) -> int:
        """Return the number of vectors."""

    def search(self, query: Floats, k: int, within: VectorFilter) -> tuple[Ids, Doubles]:
        """Return the k vectors with the greatest inner product among those that pass a filter, best first.

        `query` is float32, (D,). Returns ids, int64, (n,), and similarities, float64, (n,); n < k only if fewer pass. Vectors are
        chosen by float32 sums, all of them if few pass or `within.exact`; otherwise recall is at least 99%. The similarities of
        the chosen ones are float64 sums, which are the same for equal vectors.
        """

    def nearest(self, queries: Floats, k: int) -> tuple[Ids, Floats]:
        """Return the k vectors with the greatest inner product for each of Q queries, best first.

        `queries` is float32, (Q, D), of vectors that resemble those of the index. Returns ids, int64, (Q, k), and similarities,
        float32, (Q, k); -1 and minus infinity where there are fewer. Many queries take much less time than one `search` each,
        with nearly the same recall.
        """


class Segment(NamedTuple):
    """A stored index of some predictions: those after the previous segment, up to the last one of `generation`."""

    vectors: VectorIndex
    generation: Generation


class VectorStorage(Protocol):
    """The storage of vector indexes between runs. They are derived from the store: losing one costs only time."""

    def load(self, card: ModelCard) -> list[Segment]:
        """Return the stored segments of a model, oldest first, up to the first that is missing or damaged."""

    def save(
        self, card: ModelCard, kept: Sequence[Segment], rows: VectorRows | Iterable[VectorRows], generation: Generation
    ) -> None:
        """Replace the stored segments by `kept`, the first of the loaded ones, and a new one of `rows`, in one step.

        `rows` is at least one row: all in memory, or portions that are read once, one at a time, each with greater ids than the
        one before.
        """

    def delete(self, card: ModelCard) -> None:
        """Delete the stored segments of a model, if there are any."""

    def over(self, rows: VectorRows) -> VectorIndex:
        """Return an index of rows in memory."""
