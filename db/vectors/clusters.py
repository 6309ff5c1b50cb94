"""Clusters of vectors with short codes: they choose the rows of a large index that are worth comparing with a query.

The index is an inverted file (Sivic and Zisserman 2003): each vector is in the list of its nearest center, and a search reads
the lists whose centers are nearest to the query. A list stores half a byte for every two numbers of a vector (product
quantization: Jégou et al. 2011) and compares them in registers (fast scan: André et al. 2015). FAISS implements all of it. Codes
only choose candidates; candidates are compared by their vectors.

The number of lists to read and of candidates to compare is measured when the index is built (`db.vectors.clustering`). If a
filter that passes a share f of the vectors is independent of similarity, its k nearest are among the k / f nearest of all. So one
measured curve serves every filter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt
from typing import TYPE_CHECKING, NamedTuple

import faiss
import numpy as np

from db.vectors.codes import Shard, search_shards

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Floats, Ids

_RANK_GROWTH = 4
"""Factor by which the rank grows from one attempt of a search to the next."""

_SHARE_DEVIATIONS = 3
"""Standard deviations by which the candidates that pass a filter may be fewer than expected."""


class SearchEffort(NamedTuple):
    """The work of a search for the neighbors up to a rank among all vectors.

    `lists` is the number of lists, nearest first; `candidates` the number of rows, best codes first; `least` the similarity that
    the last neighbor has at least, if the query resembles the vectors of the index.
    """

    rank: int
    lists: int
    candidates: int
    least: float


@dataclass(frozen=True)
class Clusters:
    """Clusters of an index, without the codes, which are read when they are first used.

    `count` is the number of clusters; `learned_from` the number of vectors when their centers were learned; `nearness` the mean
    cosine similarity of vectors to their centers then; `efforts` what searches read for growing ranks; `shards`, at least one,
    the codes of all rows.
    """

    count: int
    learned_from: int
    nearness: float
    efforts: Sequence[SearchEffort]
    shards: Sequence[Shard]

    @cached_property
    def _columns(self) -> npt.NDArray[np.float64]:
        """The measured ranks, lists, candidates and least similarities, float64, (4, N)."""
        return np.array(self.efforts, dtype=np.float64).T

    @property
    def is_read(self) -> bool:
        """Return whether codes are in memory."""
        return any(shard.is_read for shard in self.shards)

    def centers(self) -> Floats:
        """Read the centers, float32, (`count`, D). Raises RuntimeError for damaged codes."""
        index = self.shards[0].read()
        centers: Floats = faiss.downcast_index(index.quantizer).reconstruct_n(0, self.count)
        return centers

    def attempts(self, k: int, share: float) -> Iterator[SearchEffort]:
        """Yield search efforts for the `k` nearest of the `share` of vectors that pass a filter, cheapest first.

        The first assumes that the filter is independent of similarity. Each next one searches four times deeper, for filters that
        are not, such as an emotion that a character seldom shows. They end at the greatest rank that was measured.
        """
        rank = max(k / share, 1)
        while self.efforts and rank <= self.efforts[-1].rank:
            yield self._effort_at(rank, k, share)
            rank *= _RANK_GROWTH

    def _effort_at(self, rank: float, k: int, share: float) -> SearchEffort:
        """Interpolate the measured efforts at a rank, with the candidates that pass a filter of a share of all vectors.

        The candidates that pass are binomially distributed; some standard deviations are added to their expected number.
        """
        ranks, *measured = self._columns
        lists, candidates, least = (float(np.interp(rank, ranks, values)) for values in measured)
        passing = share * candidates
        deviation = sqrt(passing * (1 - share))
        return SearchEffort(ceil(rank), ceil(lists), max(k, ceil(passing + _SHARE_DEVIATIONS * deviation)), least)

    def candidates(self, query: Floats, effort: SearchEffort, chosen: list[slice] | Ids) -> Ids:
        """Return those of the chosen rows, ascending, that are likely nearest to a query.

        `query` is float32, (D,); the result int64, (n,), n <= `effort.candidates`. Raises RuntimeError for damaged codes.
        """
        rows = search_shards(self.shards, query[None], effort.lists, effort.candidates, chosen)[1][0]
        found: Ids = rows[rows >= 0]
        return found

    def candidates_of_many(self, queries: Floats, effort: SearchEffort) -> Ids:
        """Return the rows that are likely nearest to each query, float32, (Q, D): int64, (Q, `effort.candidates`).

        Missing rows are -1. Raises RuntimeError for damaged codes.
        """
        rows: Ids = search_shards(self.shards, queries, effort.lists, effort.candidates)[1]
        return rows
