"""Clusters of vectors and short codes of them: which rows of a large index are worth comparing with a query.

An inverted file (Sivic and Zisserman 2003): every vector lies in the list of the nearest of some centres, and a search reads the
lists whose centres are nearest to the query. The lists hold half a byte for every two numbers (product quantisation: Jégou et
al. 2011), compared in registers (fast scan: André et al. 2015; all of it FAISS's). Codes only choose candidates, which are then
compared by their vectors. How many lists to read, and how many candidates to compare, is measured on the index itself when it is
built: the k nearest of a share f of all vectors reach as far as the k / f nearest of all, whatever picks the share, so one curve
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
"""Vectors a centre that clusters are learned from."""

_KMEANS_ITERATIONS = 10
_GROWN = 4
_WORSE = 0.95
_BITS = 4
_ASKED = 128
_RANKS = tuple(16 * 2**step for step in range(9))
_IN_LISTS = 0.996
_AMONG_CANDIDATES = 0.998
"""The share of the neighbours of a rank that the measured numbers of lists, and of candidates, hold: the second cost less."""

_UNLIKE = 3.0
"""Standard deviations below the mean at which neighbours are less similar than those of any vector like the others."""

_FURTHER = 4
"""How many times as far down it is looked, where what was found is too little alike."""

_LEFT_TO_CHANCE = 3
"""Standard deviations by which a share of the candidates may be smaller than its expectation."""


class SearchEffort(NamedTuple):
    """What finds the neighbours up to a rank among all vectors: lists, nearest first, and candidates, by their codes; and how
    similar the last of them is at least to a vector like those that there are.
    """

    rank: int
    lists: int
    candidates: int
    least: float


@dataclass(frozen=True)
class Clusters:
    """How many clusters there are, how many vectors there were when their centres were learned, how near vectors were to them
    then (mean cosine similarity), and what finds the neighbours up to some ranks; `read` gives the FAISS index of the codes,
    numbered as the vectors are.
    """

    count: int
    learned_from: int
    nearness: float
    efforts: Sequence[SearchEffort]
    read: Callable[[], Any]

    @cached_property
    def index(self) -> Any:
        """The index of the codes, read when it is first used."""
        return self.read()

    @property
    def is_read(self) -> bool:
        """Whether the codes are in memory."""
        return "index" in vars(self)

    def attempts(self, k: int, share: float) -> Iterator[SearchEffort]:
        """What finds the k nearest of a share of all vectors, should chance have picked it; then, for as long as it was measured,
        what does where they are further down among all, as where a character seldom feels what is asked for.
        """
        rank = max(k / share, 1)
        while self.efforts and rank <= self.efforts[-1].rank:
            yield self._effort(rank, k, share)
            rank *= _FURTHER

    def _effort(self, rank: float, k: int, share: float) -> SearchEffort:
        ranks = [one.rank for one in self.efforts]
        lists = np.interp(rank, ranks, [one.lists for one in self.efforts])
        let_through = share * np.interp(rank, ranks, [one.candidates for one in self.efforts])
        spread = sqrt(let_through * (1 - share))
        least = float(np.interp(rank, ranks, [one.least for one in self.efforts]))
        return SearchEffort(ceil(rank), ceil(lists), max(k, ceil(let_through + _LEFT_TO_CHANCE * spread)), least)

    def candidates(self, query: Floats, effort: SearchEffort, selector: Any) -> Ids:
        """Rows that are likely among the nearest to a query, float32, (D,), of those that a FAISS selector lets through."""
        parameters = faiss.SearchParametersIVF(sel=selector, nprobe=effort.lists)  # type: ignore[call-arg]  # set from keywords
        rows = self.index.search(query[None], effort.candidates, params=parameters)[1][0]
        found: Ids = rows[rows >= 0]
        return found


def cluster(vectors: Halves, earlier: Clusters | None = None) -> Clusters:
    """Clusters of unit vectors, (N, D).

    The centres are `earlier` ones where they fit: they are learned anew when the vectors have become several times as many, or
    lie further from them than they did. Deterministic for the same threads.
    """
    random = np.random.default_rng(0)
    size = vectors.shape[1]
    count = round(2 * sqrt(len(vectors)))
    some = np.sort(random.choice(len(vectors), min(len(vectors), _TRAINING_ROWS * count), replace=False))
    sample = vectors[some].astype(np.float32)
    centres, learned_from, nearness = _centres(sample, count, len(vectors), earlier)
    parts = size if size % 2 else size // 2
    index = faiss.IndexIVFPQFastScan(_flat(centres), size, len(centres), parts, _BITS, faiss.METRIC_INNER_PRODUCT)
    index.by_residual = True  # what a vector has beside its centre: where clusters are tight, all that tells their vectors apart
    index.train(sample)
    for start in range(0, len(vectors), _ADD_CHUNK_ROWS):
        index.add(vectors[start : start + _ADD_CHUNK_ROWS].astype(np.float32))
    return Clusters(len(centres), learned_from, nearness, _efforts(index, vectors, random), lambda: index)


def _flat(vectors: Floats) -> Any:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def _centres(sample: Floats, count: int, vectors: int, earlier: Clusters | None) -> tuple[Floats, int, float]:
    """Centres, (count, D), with the number of vectors they were learned from and how near those were."""
    if earlier is not None and vectors <= _GROWN * earlier.learned_from:
        with suppress(RuntimeError):  # FAISS's, of bits that rotted: then as if there were none
            centres: Floats = faiss.downcast_index(earlier.index.quantizer).reconstruct_n(0, earlier.count)
            if _nearness(centres, sample) >= _WORSE * earlier.nearness:
                return centres, earlier.learned_from, earlier.nearness
    means = faiss.Kmeans(
        sample.shape[1], count, niter=_KMEANS_ITERATIONS, spherical=True, seed=0, max_points_per_centroid=_TRAINING_ROWS
    )
    means.train(sample)
    learned = np.asarray(means.centroids)
    return learned, vectors, _nearness(learned, sample)


def _nearness(centres: Floats, sample: Floats) -> float:
    return float(_flat(centres).search(sample, 1)[0].mean())


def _efforts(index: Any, vectors: Halves, random: np.random.Generator) -> list[SearchEffort]:
    """What finds the neighbours up to some ranks of vectors taken by chance."""
    asked = vectors[np.sort(random.choice(len(vectors), min(_ASKED, len(vectors)), replace=False))].astype(np.float32)
    ranks = [rank for rank in _RANKS if rank < len(vectors)]
    if not ranks:
        return []
    nearest = _nearest(vectors, asked, ranks[-1])
    lists = index.quantizer.search(asked, index.nlist)[1]
    near = np.argsort(lists, axis=1)  # of a list among all, seen from a question
    told = min(2 * ranks[-1], len(vectors))
    by_codes = index.search(asked, told, params=faiss.SearchParametersIVF(nprobe=index.nlist))[1]  # type: ignore[call-arg]
    efforts: list[SearchEffort] = []
    for low, high in zip([0, *ranks], ranks, strict=False):
        some = nearest[:, low:high][:, :: max(1, (high - low) // 16)]
        own = index.quantizer.search(vectors[some.ravel()].astype(np.float32), 1)[1].reshape(some.shape)
        place = np.take_along_axis(near, own, axis=1)
        turn = np.array([_places(row, wanted) for row, wanted in zip(by_codes, some, strict=True)])
        read = 1 + ceil(np.quantile(place, _IN_LISTS))
        compared = 1 + ceil(np.quantile(turn, _AMONG_CANDIDATES))
        if efforts:  # what holds a rank holds those before it
            read, compared = max(read, efforts[-1].lists), max(compared, efforts[-1].candidates)
        if compared > told:
            break
        similar = np.einsum("qd,qd->q", asked, vectors[nearest[:, high - 1]].astype(np.float32))
        efforts.append(SearchEffort(high, read, compared, float(similar.mean() - _UNLIKE * similar.std())))
    return efforts


def _places(ranking: Ids, wanted: Ids) -> Ids:
    """The places of wanted rows in a ranking; its length for those that it lacks."""
    order = np.argsort(ranking)
    place = order[np.searchsorted(ranking[order], wanted).clip(max=len(ranking) - 1)]
    found: Ids = np.where(ranking[place] == wanted, place, len(ranking))
    return found


def _nearest(vectors: Halves, asked: Floats, count: int) -> Ids:
    """The rows of the nearest vectors to each of Q questions, nearest first, (Q, count), by comparing all."""
    best, rows = np.empty((len(asked), 0), dtype=np.float32), np.empty((len(asked), 0), dtype=np.int64)
    for start in range(0, len(vectors), _COMPARE_CHUNK_ROWS):
        found = asked @ vectors[start : start + _COMPARE_CHUNK_ROWS].astype(np.float32).T
        best = np.concatenate([best, found], axis=1)
        rows = np.concatenate([rows, np.broadcast_to(np.arange(start, start + found.shape[1]), found.shape)], axis=1)
        if best.shape[1] > count:
            kept = np.argpartition(-best, count - 1, axis=1)[:, :count]
            best, rows = np.take_along_axis(best, kept, axis=1), np.take_along_axis(rows, kept, axis=1)
    return np.take_along_axis(rows, np.argsort(-best, axis=1), axis=1)
