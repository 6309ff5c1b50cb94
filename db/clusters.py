"""Clusters of vectors: how a large index is divided, and how many of its clusters a search has to look into.

An inverted file (Sivic and Zisserman 2003; FAISS): every vector lies in the list of the nearest of some centres, and a search
reads the lists whose centres are nearest to the query. How many is measured on the index itself when it is built: the k nearest
of a share f of all vectors reach as far as the k / f nearest of all, whatever picks the share, so one curve serves every filter.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

if TYPE_CHECKING:
    from indexer.domain import Floats, Halves, Ids

_ADDED_AT_ONCE = 65_536
_COMPARED_AT_ONCE = 8192
_TRAINED_ON = 64
"""Vectors a centre that clusters are learned from."""

_ROUNDS = 10
_GROWN = 4
_WORSE = 0.95
_ASKED = 128
_RANKS = tuple(16 * 2**step for step in range(9))
_FOUND = 0.995
"""The share of the neighbours of a rank that the measured number of lists holds."""


@dataclass(frozen=True, slots=True)
class Clusters:
    """What is known of an index's clusters: how many there are, how many vectors there were when they were learned, how near
    vectors were to their centres then (mean cosine similarity), and how many lists hold the neighbours up to some ranks.
    """

    count: int
    learned_from: int
    nearness: float
    reach: tuple[tuple[int, int], ...]

    def probes(self, rank: float) -> int:
        """How many lists to read for the neighbours up to a rank among all vectors: all of them where none has measured."""
        ranks, lists = zip(*self.reach, strict=True)
        return self.count if rank > ranks[-1] else min(self.count, ceil(np.interp(rank, ranks, lists)))


def cluster(vectors: Halves, earlier: tuple[Any, Clusters] | None = None) -> tuple[Any, Clusters]:
    """A FAISS index of unit vectors, (N, D), numbered as they come, and what is known of its clusters.

    The centres are an `earlier` index's where they fit: they are learned anew when the vectors have become several times as many,
    or lie further from them than they did. Deterministic for the same threads.
    """
    random = np.random.default_rng(0)
    centres, learned_from, nearness = _centres(vectors, earlier, random)
    coarse = faiss.IndexFlatIP(vectors.shape[1])
    coarse.add(centres)
    kind = faiss.ScalarQuantizer.QT_fp16
    # Not residuals: float16 keeps what the store has.
    index = faiss.IndexIVFScalarQuantizer(coarse, vectors.shape[1], len(centres), kind, faiss.METRIC_INNER_PRODUCT, False)
    index.is_trained = True  # the centres are there, and float16 has nothing to learn
    for start in range(0, len(vectors), _ADDED_AT_ONCE):
        index.add(vectors[start : start + _ADDED_AT_ONCE].astype(np.float32))
    return index, Clusters(len(centres), learned_from, nearness, _reach(coarse, vectors, random))


def _centres(vectors: Halves, earlier: tuple[Any, Clusters] | None, random: np.random.Generator) -> tuple[Floats, int, float]:
    """Centres, (count, D), with the number of vectors they were learned from and how near those were."""
    count = round(2 * sqrt(len(vectors)))
    rows = np.sort(random.choice(len(vectors), min(len(vectors), _TRAINED_ON * count), replace=False))
    sample = vectors[rows].astype(np.float32)
    if earlier is not None:
        index, known = earlier
        centres: Floats = faiss.downcast_index(index.quantizer).reconstruct_n(0, known.count)
        fits = _nearness(centres, sample) >= _WORSE * known.nearness
        if fits and len(vectors) <= _GROWN * known.learned_from:
            return centres, known.learned_from, known.nearness
    means = faiss.Kmeans(vectors.shape[1], count, niter=_ROUNDS, spherical=True, seed=0, max_points_per_centroid=_TRAINED_ON)
    means.train(sample)
    learned = np.asarray(means.centroids)
    return learned, len(vectors), _nearness(learned, sample)


def _nearness(centres: Floats, sample: Floats) -> float:
    coarse = faiss.IndexFlatIP(centres.shape[1])
    coarse.add(centres)
    return float(coarse.search(sample, 1)[0].mean())


def _reach(coarse: Any, vectors: Halves, random: np.random.Generator) -> tuple[tuple[int, int], ...]:
    """For some ranks, how many lists, nearest first, hold the neighbours up to there of vectors taken by chance."""
    asked = vectors[np.sort(random.choice(len(vectors), min(_ASKED, len(vectors)), replace=False))].astype(np.float32)
    ranks = [rank for rank in _RANKS if rank < len(vectors)]
    nearest = _nearest(vectors, asked, ranks[-1])
    lists = coarse.search(asked, coarse.ntotal)[1]
    place = np.argsort(lists, axis=1)  # of a list among all, seen from a question
    reach = []
    for low, high in zip([0, *ranks], ranks, strict=False):
        some = nearest[:, low:high][:, :: max(1, (high - low) // 16)]
        own = coarse.search(vectors[some.ravel()].astype(np.float32), 1)[1].reshape(some.shape)
        reach.append((high, 1 + ceil(np.quantile(np.take_along_axis(place, own, axis=1), _FOUND))))
    return tuple(reach)


def _nearest(vectors: Halves, asked: Floats, count: int) -> Ids:
    """The rows of the nearest vectors to each of Q questions, nearest first, (Q, count), by comparing all."""
    best, rows = np.empty((len(asked), 0), dtype=np.float32), np.empty((len(asked), 0), dtype=np.int64)
    for start in range(0, len(vectors), _COMPARED_AT_ONCE):
        found = asked @ vectors[start : start + _COMPARED_AT_ONCE].astype(np.float32).T
        best = np.concatenate([best, found], axis=1)
        rows = np.concatenate([rows, np.broadcast_to(np.arange(start, start + found.shape[1]), found.shape)], axis=1)
        if best.shape[1] > count:
            kept = np.argpartition(-best, count - 1, axis=1)[:, :count]
            best, rows = np.take_along_axis(best, kept, axis=1), np.take_along_axis(rows, kept, axis=1)
    return np.take_along_axis(rows, np.argsort(-best, axis=1), axis=1)
