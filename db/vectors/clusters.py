"""Clusters of vectors with short codes: they choose the rows of a large index that are worth comparing with a query.

The index is an inverted file (Sivic and Zisserman 2003): each vector is in the list of its nearest center, and a search reads
the lists whose centers are nearest to the query. A list stores half a byte for every two numbers of a vector (product
quantization: Jégou et al. 2011) and compares them in registers (fast scan: André et al. 2015). FAISS implements all of it. Codes
only choose candidates; candidates are compared by their vectors.

The number of lists to read and of candidates to compare is measured on the index when it is built. If a filter that passes a
share f of the vectors is independent of similarity, its k nearest are among the k / f nearest of all. So one measured curve
serves every filter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import faiss
import numpy as np

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Halves, Ids

_ADD_CHUNK_ROWS = 65_536
_COMPARE_CHUNK_ROWS = 8192
_TRAINING_ROWS = 64
"""Training vectors for each center."""

_KMEANS_ITERATIONS = 10
_RELEARN_GROWTH = 4
"""Centers are learned again when there are more than this many times as many vectors."""

_RELEARN_NEARNESS = 0.95
"""Centers are learned again if the mean similarity of vectors to them falls below this share of its first value."""

_CODE_BITS = 4
_PROBE_QUERIES = 128
"""Vectors of the index that serve as queries when search efforts are measured."""

_RANKS = tuple(16 * 2**step for step in range(9))
_LIST_RECALL = 0.996
_CANDIDATE_RECALL = 0.998
"""Shares of the neighbors up to a rank that the measured lists, and the measured candidates, contain.

The second is higher, because candidates cost less than lists.
"""

_UNLIKE_DEVIATIONS = 3.0
"""Standard deviations below the mean similarity under which a query is unlike the vectors of the index."""

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
    cosine similarity of vectors to their centers then; `efforts` what searches read for growing ranks. `read` returns the FAISS
    index of the codes, whose rows have the numbers of the vectors.
    """

    count: int
    learned_from: int
    nearness: float
    efforts: Sequence[SearchEffort]
    read: Callable[[], Any]

    @cached_property
    def index(self) -> Any:
        """The FAISS index of the codes."""
        return self.read()

    @property
    def is_read(self) -> bool:
        """Return whether the codes are in memory."""
        return "index" in vars(self)

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
        ranks = [effort.rank for effort in self.efforts]
        lists = np.interp(rank, ranks, [effort.lists for effort in self.efforts])
        passing = share * np.interp(rank, ranks, [effort.candidates for effort in self.efforts])
        deviation = sqrt(passing * (1 - share))
        least = float(np.interp(rank, ranks, [effort.least for effort in self.efforts]))
        return SearchEffort(ceil(rank), ceil(lists), max(k, ceil(passing + _SHARE_DEVIATIONS * deviation)), least)

    def candidates(self, query: Floats, effort: SearchEffort, selector: Any) -> Ids:
        """Return the rows that are likely nearest to a query, among those that pass a FAISS selector.

        `query` is float32, (D,); the result int64, (n,), n <= `effort.candidates`. Raises RuntimeError for damaged codes.
        """
        parameters = faiss.SearchParametersIVF(sel=selector, nprobe=effort.lists)  # type: ignore[call-arg]  # set from keywords
        rows = self.index.search(query[None], effort.candidates, params=parameters)[1][0]
        found: Ids = rows[rows >= 0]
        return found

    def candidates_of_many(self, queries: Floats, effort: SearchEffort) -> Ids:
        """Return the rows that are likely nearest to each query, float32, (Q, D): int64, (Q, `effort.candidates`).

        Missing rows are -1. Raises RuntimeError for damaged codes.
        """
        parameters = faiss.SearchParametersIVF(nprobe=effort.lists)  # type: ignore[call-arg]  # set from keywords
        rows: Ids = self.index.search(queries, effort.candidates, params=parameters)[1]
        return rows


def cluster(vectors: Halves, earlier: Clusters | None = None) -> Clusters:
    """Cluster unit vectors, float16, (N, D).

    The centers of `earlier` are used again unless there are several times as many vectors, or they are less near to them. The
    result is deterministic for the same number of threads.
    """
    random = np.random.default_rng(0)
    size = vectors.shape[1]
    count = round(2 * sqrt(len(vectors)))
    some = np.sort(random.choice(len(vectors), min(len(vectors), _TRAINING_ROWS * count), replace=False))
    sample = vectors[some].astype(np.float32)
    centers, learned_from, nearness = _centers(sample, count, len(vectors), earlier)
    parts = size if size % 2 else size // 2
    index = faiss.IndexIVFPQFastScan(_flat(centers), size, len(centers), parts, _CODE_BITS, faiss.METRIC_INNER_PRODUCT)
    index.by_residual = True  # in tight clusters, only the differences from the center tell vectors apart
    index.train(sample)
    for start in range(0, len(vectors), _ADD_CHUNK_ROWS):
        index.add(vectors[start : start + _ADD_CHUNK_ROWS].astype(np.float32))
    return Clusters(len(centers), learned_from, nearness, _efforts(index, vectors, random), lambda: index)


def _flat(vectors: Floats) -> Any:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def _centers(sample: Floats, count: int, vectors: int, earlier: Clusters | None) -> tuple[Floats, int, float]:
    """Return centers, (count, D), the number of vectors they were learned from, and the nearness of those."""
    if earlier is not None and vectors <= _RELEARN_GROWTH * earlier.learned_from:
        with suppress(RuntimeError):  # raised by FAISS for damaged codes: then new centers are learned
            centers: Floats = faiss.downcast_index(earlier.index.quantizer).reconstruct_n(0, earlier.count)
            if _nearness(centers, sample) >= _RELEARN_NEARNESS * earlier.nearness:
                return centers, earlier.learned_from, earlier.nearness
    means = faiss.Kmeans(
        sample.shape[1], count, niter=_KMEANS_ITERATIONS, spherical=True, seed=0, max_points_per_centroid=_TRAINING_ROWS
    )
    means.train(sample)
    learned = np.asarray(means.centroids)
    return learned, vectors, _nearness(learned, sample)


def _nearness(centers: Floats, sample: Floats) -> float:
    return float(_flat(centers).search(sample, 1)[0].mean())


def _efforts(index: Any, vectors: Halves, random: np.random.Generator) -> list[SearchEffort]:
    """Measure what searches must read to find the neighbors of random vectors up to some ranks."""
    queries = vectors[np.sort(random.choice(len(vectors), min(_PROBE_QUERIES, len(vectors)), replace=False))].astype(np.float32)
    ranks = [rank for rank in _RANKS if rank < len(vectors)]
    if not ranks:
        return []
    nearest = _nearest(vectors, queries, ranks[-1])
    list_ranks = np.argsort(index.quantizer.search(queries, index.nlist)[1], axis=1)  # (Q, lists): 0 for the nearest list
    most = min(2 * ranks[-1], len(vectors))
    by_codes = index.search(queries, most, params=faiss.SearchParametersIVF(nprobe=index.nlist))[1]  # type: ignore[call-arg]
    efforts: list[SearchEffort] = []
    for low, high in zip([0, *ranks], ranks, strict=False):
        neighbors = nearest[:, low:high][:, :: max(1, (high - low) // 16)]
        own_lists = index.quantizer.search(vectors[neighbors.ravel()].astype(np.float32), 1)[1].reshape(neighbors.shape)
        code_ranks = np.array([_ranks(row, wanted) for row, wanted in zip(by_codes, neighbors, strict=True)])
        lists = 1 + ceil(np.quantile(np.take_along_axis(list_ranks, own_lists, axis=1), _LIST_RECALL))
        candidates = 1 + ceil(np.quantile(code_ranks, _CANDIDATE_RECALL))
        if efforts:  # a greater rank includes the smaller ones
            lists, candidates = max(lists, efforts[-1].lists), max(candidates, efforts[-1].candidates)
        if candidates > most:
            break
        similar = np.einsum("qd,qd->q", queries, vectors[nearest[:, high - 1]].astype(np.float32))
        efforts.append(SearchEffort(high, lists, candidates, float(similar.mean() - _UNLIKE_DEVIATIONS * similar.std())))
    return efforts


def _ranks(ranking: Ids, wanted: Ids) -> Ids:
    """Return the ranks of wanted rows in a ranking, from 0; its length for rows that it lacks."""
    order = np.argsort(ranking)
    rank = order[np.searchsorted(ranking[order], wanted).clip(max=len(ranking) - 1)]
    found: Ids = np.where(ranking[rank] == wanted, rank, len(ranking))
    return found


def _nearest(vectors: Halves, queries: Floats, count: int) -> Ids:
    """Return the rows nearest to each of Q queries, nearest first, (Q, count), by comparing all vectors."""
    best, rows = np.empty((len(queries), 0), dtype=np.float32), np.empty((len(queries), 0), dtype=np.int64)
    for start in range(0, len(vectors), _COMPARE_CHUNK_ROWS):
        found = queries @ vectors[start : start + _COMPARE_CHUNK_ROWS].astype(np.float32).T
        best = np.concatenate([best, found], axis=1)
        rows = np.concatenate([rows, np.broadcast_to(np.arange(start, start + found.shape[1]), found.shape)], axis=1)
        if best.shape[1] > count:
            kept = np.argpartition(-best, count - 1, axis=1)[:, :count]
            best, rows = np.take_along_axis(best, kept, axis=1), np.take_along_axis(rows, kept, axis=1)
    return np.take_along_axis(rows, np.argsort(-best, axis=1), axis=1)
