"""The clustering of vectors, and the measurement of what a search of the clusters must read.

The vectors may be in a file that is larger than memory. Centers and codes are learned from a sample, codes are computed shard by
shard, and every shard is stored before the next one is built.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

from db.vectors.clusters import Clusters, SearchEffort
from db.vectors.codes import Shard, search_shards
from db.vectors.tuning import DEFAULT_TUNING, IndexTuning

if TYPE_CHECKING:
    from db.vectors.row_file import StoredVectors
    from indexer.domain.types import Floats, Halves, Ids

    Vectors = Halves | StoredVectors
    Keep = Callable[[int, Any], Callable[[], Any]]
    """Stores the FAISS index of a shard with a number; returns a function that reads it."""

_CHUNK_ROWS = 8192
_TRAINING_ROWS = 64
"""Training vectors for each center, if they are not limited by memory."""

_CODE_TRAINING_ROWS = 8192
"""Training vectors for the codes; FAISS uses 4,096 of them."""

_KMEANS_ITERATIONS = 10
_RELEARN_GROWTH = 4
"""Centers are learned again when there are more than this many times as many vectors."""

_RELEARN_NEARNESS = 0.95
"""Centers are learned again if the mean similarity of vectors to them falls below this share of its first value."""

_CODE_BITS = 4
_BYTES_PER_ROW_NUMBER = 8
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


def in_memory(_number: int, index: Any) -> Callable[[], Any]:
    """Keep a shard in memory."""
    return lambda: index


def cluster(
    vectors: Vectors, earlier: Clusters | None = None, tuning: IndexTuning = DEFAULT_TUNING, keep: Keep = in_memory
) -> Clusters:
    """Cluster unit vectors, float16, (N, D).

    The centers of `earlier` are used again unless there are several times as many vectors, or they are less near to them. The
    result is deterministic for the same number of threads.
    """
    random = np.random.default_rng(0)
    total, size = vectors.shape
    shard_rows = max(1, tuning.shard_bytes // (_code_parts(size) * _CODE_BITS // 8 + _BYTES_PER_ROW_NUMBER))
    # More lists would be shorter in every shard, and would make the time to fill them grow faster than the vectors.
    count = round(2 * sqrt(min(total, shard_rows)))
    sample = vectors[_some_rows(random, total, min(_TRAINING_ROWS * count, tuning.training_bytes // (2 * size)))]
    centers, learned_from, nearness = _centers(sample, count, total, earlier)
    empty = _coder(centers, sample)
    del sample  # it would be in memory next to the codes
    probe = _Probe(vectors[_some_rows(random, total, _PROBE_QUERIES)].astype(np.float32), total)
    shards = []
    for number, start in enumerate(range(0, total, shard_rows)):
        stop = min(start + shard_rows, total)
        shards.append(Shard(start, stop, keep(number, _shard_index(vectors, start, stop, empty, probe))))
    return Clusters(len(centers), learned_from, nearness, probe.efforts(vectors, empty.quantizer), shards)


def _some_rows(random: np.random.Generator, total: int, most: int) -> Ids:
    """Return up to `most` of `total` rows, ascending: a random one of each of as many equal parts."""
    number = min(most, total)
    rows: Ids = np.unique(((np.arange(number) + random.random(number)) * (total / number)).astype(np.int64))
    return rows


def _code_parts(size: int) -> int:
    """Return the number of parts of a vector that have a code each: two numbers, or one of an odd number of them."""
    return size if size % 2 else size // 2


def _flat(vectors: Floats) -> Any:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def _coder(centers: Floats, sample: Halves) -> Any:
    """Return a FAISS index without rows, whose codes are learned from a sample, float16, (S, D)."""
    count, size = centers.shape
    index = faiss.IndexIVFPQFastScan(_flat(centers), size, count, _code_parts(size), _CODE_BITS, faiss.METRIC_INNER_PRODUCT)
    index.by_residual = True  # in tight clusters, only the differences from the center tell vectors apart
    index.train(sample[:: max(1, len(sample) // _CODE_TRAINING_ROWS)].astype(np.float32))
    return index


def _centers(sample: Halves, count: int, vectors: int, earlier: Clusters | None) -> tuple[Floats, int, float]:
    """Return centers, (count, D), the number of vectors they were learned from, and the nearness of those."""
    if earlier is not None and vectors <= _RELEARN_GROWTH * earlier.learned_from:
        with suppress(RuntimeError):  # raised by FAISS for damaged codes: then new centers are learned
            centers = earlier.centers()
            if _nearness(centers, sample) >= _RELEARN_NEARNESS * earlier.nearness:
                return centers, earlier.learned_from, earlier.nearness
    learned = _means(sample, count)
    return learned, vectors, _nearness(learned, sample)


def _means(sample: Halves, count: int) -> Floats:
    """Return spherical k-means, (count, D), of a sample, which FAISS reads as it is, without a copy in float32."""
    size = sample.shape[1]
    means = faiss.Clustering(size, count)
    means.niter, means.spherical, means.seed = _KMEANS_ITERATIONS, True, 0
    means.min_points_per_centroid, means.max_points_per_centroid = 1, _TRAINING_ROWS
    decoder = faiss.IndexScalarQuantizer(size, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    decoder.is_trained = True  # float16 needs no training
    means.train_encoded(sample.view(np.uint8), decoder, faiss.IndexFlatIP(size))
    learned: Floats = faiss.vector_to_array(means.centroids).reshape(count, size)
    return learned


def _nearness(centers: Floats, sample: Halves) -> float:
    """Return the mean similarity of vectors to their centers."""
    index, total = _flat(centers), 0.0
    for start in range(0, len(sample), _CHUNK_ROWS):
        total += float(index.search(sample[start : start + _CHUNK_ROWS].astype(np.float32), 1)[0].sum())
    return total / len(sample)


def _shard_index(vectors: Vectors, start: int, stop: int, empty: Any, probe: _Probe) -> Any:
    """Return the FAISS index of the codes of some rows, which `probe` has searched."""
    index = faiss.clone_index(empty)
    for first in range(start, stop, _CHUNK_ROWS):
        part = vectors[first : min(first + _CHUNK_ROWS, stop)].astype(np.float32)
        index.add(part)
        probe.compare(part, first)
    probe.search(Shard(start, stop, lambda: index))
    return index


class _Probe:
    """Queries, float32, (Q, D), which are compared with all of `total` vectors and with their codes, part by part."""

    def __init__(self, queries: Floats, total: int) -> None:
        self._queries = queries
        self._ranks = [rank for rank in _RANKS if rank < total]
        last = self._ranks[-1] if self._ranks else 1
        self._nearest = [_Best(last) for _ in queries]
        self._by_codes = [_Best(min(2 * last, total)) for _ in queries]

    def compare(self, vectors: Floats, first: int) -> None:
        """Compare the queries with vectors, float32, (N, D), of the rows from `first` on."""
        rows = np.arange(first, first + len(vectors))
        for best, similarities in zip(self._nearest, self._queries @ vectors.T, strict=True):
            best.add(similarities, rows)

    def search(self, shard: Shard) -> None:
        """Compare the queries with all codes of a shard."""
        lists = shard.index.quantizer.ntotal
        for query, best in zip(self._queries, self._by_codes, strict=True):  # one at a time, which takes less memory
            similarities, rows = search_shards([shard], query[None], lists, best.count)
            best.add(similarities[0], rows[0])

    def efforts(self, vectors: Vectors, quantizer: Any) -> list[SearchEffort]:
        """Return what searches must read to find the neighbors of the queries up to some ranks."""
        nearest = np.stack([best.ranking() for best in self._nearest])
        by_codes = [best.ranking() for best in self._by_codes]
        # 0 for the nearest list: (Q, lists).
        list_ranks = np.argsort(quantizer.search(self._queries, quantizer.ntotal)[1], axis=1)
        efforts: list[SearchEffort] = []
        for low, high in zip([0, *self._ranks], self._ranks, strict=False):
            neighbors = nearest[:, low:high][:, :: max(1, (high - low) // 16)]
            own_lists = quantizer.search(vectors[neighbors.ravel()].astype(np.float32), 1)[1].reshape(neighbors.shape)
            code_ranks = np.array([_rank_of(wanted, row) for wanted, row in zip(neighbors, by_codes, strict=True)])
            lists = 1 + ceil(np.quantile(np.take_along_axis(list_ranks, own_lists, axis=1), _LIST_RECALL))
            candidates = 1 + ceil(np.quantile(code_ranks, _CANDIDATE_RECALL))
            if efforts:  # a greater rank includes the smaller ones
                lists, candidates = max(lists, efforts[-1].lists), max(candidates, efforts[-1].candidates)
            if candidates > self._by_codes[0].count:
                break
            similar = np.einsum("qd,qd->q", self._queries, vectors[nearest[:, high - 1]].astype(np.float32))
            efforts.append(SearchEffort(high, lists, candidates, float(similar.mean() - _UNLIKE_DEVIATIONS * similar.std())))
        return efforts


class _Best:
    """The `count` rows most similar to a query, of all that were added so far."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._similarities = np.empty(0, dtype=np.float32)
        self._rows = np.empty(0, dtype=np.int64)
        self._least = -np.inf

    def add(self, similarities: Floats, rows: Ids) -> None:
        """Add rows, int64, (n,), with their similarities to the query, float32, (n,)."""
        better = similarities > self._least
        self._similarities = np.concatenate([self._similarities, similarities[better]])
        self._rows = np.concatenate([self._rows, rows[better]])
        if len(self._rows) > self.count:
            kept = np.argpartition(self._similarities, -self.count)[-self.count :]
            self._similarities, self._rows = self._similarities[kept], self._rows[kept]
            self._least = float(self._similarities.min())

    def ranking(self) -> Ids:
        """Return the rows, most similar first."""
        ranked: Ids = self._rows[np.argsort(-self._similarities, kind="stable")]
        return ranked


def _rank_of(wanted: Ids, ranking: Ids) -> Ids:
    """Return the ranks of wanted rows in a ranking, from 0; its length for rows that it lacks."""
    order = np.argsort(ranking)
    rank = order[np.searchsorted(ranking[order], wanted).clip(max=len(ranking) - 1)]
    found: Ids = np.where(ranking[rank] == wanted, rank, len(ranking))
    return found
