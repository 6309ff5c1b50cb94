"""A vector index in FAISS. Implements `indexer.ports.vectors.VectorIndex`.

Rows are ordered by emotion, then by falling score, so that a filter by emotion and score is one contiguous slice per emotion.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

from db.vectors.layout import Layout, by_emotion
from db.vectors.numpy_index import best_of_many, by_similarity, padded
from db.vectors.tuning import DEFAULT_TUNING, IndexTuning

if TYPE_CHECKING:
    import numpy.typing as npt

    from db.vectors.clusters import Clusters
    from indexer.domain.types import Doubles, Floats, Halves, Ids
    from indexer.ports.vectors import VectorFilter, VectorRows

    Rows = npt.NDArray[np.int64]

_log = logging.getLogger(__name__)
_CODES_PER_ROW = 4
"""Number of codes that are compared in the time of one row."""

_LOAD_CODES_AFTER = 1.0
"""The codes are loaded after this many comparisons, as a multiple of the rows of the index.

Loading takes about as long as comparing all rows once, so a single query does not wait for it.
"""

_GATHER_CHUNK_ROWS = 65_536
_COMPARE_CHUNK_ROWS = 8192
"""Rows that are compared with many queries at once: 16 MB of similarities for 512 queries."""


class FaissVectors:
    """Rows in index order, compared by FAISS. `vectors`, float16, (N, D), may be mapped from a file.

    The store has float16 as well, so similarities are exact. All selected rows are compared if they are few, if the index has no
    clusters, or if its codes are not loaded yet; otherwise those that clusters choose, see `db.vectors.clusters`.
    """

    def __init__(
        self, layout: Layout, vectors: Halves, clusters: Clusters | None = None, tuning: IndexTuning = DEFAULT_TUNING
    ) -> None:
        self.layout = layout
        self.vectors = vectors
        self.clusters = clusters
        self._tuning = tuning
        self._rows_selected = 0

    @classmethod
    def build(cls, rows: VectorRows, like: FaissVectors | None = None, tuning: IndexTuning = DEFAULT_TUNING) -> FaissVectors:
        """Index at least one row, with clusters if there are many, around the centers of `like` if they fit."""
        rows = by_emotion(rows)
        earlier = None if like is None else like.clusters
        clusters = None
        if len(rows.ids) >= tuning.clustered_min_rows:
            from db.vectors.clustering import cluster  # a search for which a segment is enough needs none

            clusters = cluster(rows.vectors, earlier, tuning)
        return cls(Layout.of(rows), rows.vectors, clusters, tuning)

    def __len__(self) -> int:
        return len(self.layout)

    def search(self, query: Floats, k: int, within: VectorFilter) -> tuple[Ids, Doubles]:
        query = np.ascontiguousarray(query, dtype=np.float32)
        chosen = self._chosen(within)
        found = None if within.exact else self._likely(query, k, chosen)
        rows, similarities = found or self._compared(query, k, chosen)
        best = rows[np.argsort(-similarities, kind="stable")[:k]]
        return by_similarity(self.layout.ids[best], self.vectors[best], query)

    def nearest(self, queries: Floats, k: int) -> tuple[Ids, Floats]:
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        rows, similarities = self._likely_nearest(queries, k) or self._all_compared(queries, min(k, len(self)))
        return padded(np.where(rows < 0, -1, self.layout.ids[rows]), similarities, k)

    def _likely_nearest(self, queries: Floats, k: int) -> tuple[Rows, Floats] | None:
        """Return the k nearest rows that codes choose for each query, (Q, k), -1 where there are fewer, with similarities.

        Returns None if there are no codes, if they were not measured for `k`, or if they are damaged.
        """
        effort = None if self.clusters is None else next(self.clusters.attempts(k, 1.0), None)
        if self.clusters is None or effort is None:
            return None
        rows, similarities = np.full((len(queries), k), -1, dtype=np.int64), np.full((len(queries), k), -np.inf, dtype=np.float32)
        portion = max(1, _GATHER_CHUNK_ROWS // effort.candidates)
        try:
            for start in range(0, len(queries), portion):
                some = slice(start, start + portion)
                found = self.clusters.candidates_of_many(queries[some], effort)
                similar = np.einsum("qd,qcd->qc", queries[some], self.vectors[found].astype(np.float32), optimize=True)
                similar[found < 0] = -np.inf
                best = np.argsort(-similar, axis=1, kind="stable")[:, :k]
                rows[some, : best.shape[1]] = np.take_along_axis(found, best, axis=1)
                similarities[some, : best.shape[1]] = np.take_along_axis(similar, best, axis=1)
        except (RuntimeError, IndexError) as error:
            self._report_damaged_codes(error)
            return None
        return rows, similarities

    def _all_compared(self, queries: Floats, k: int) -> tuple[Rows, Floats]:
        """Return the k nearest rows of each query, (Q, k), among all, with their similarities."""
        rows, similarities = np.empty((len(queries), 0), dtype=np.int64), np.empty((len(queries), 0), dtype=np.float32)
        for start in range(0, len(self), _COMPARE_CHUNK_ROWS):
            found, similar = best_of_many(self.vectors[start : start + _COMPARE_CHUNK_ROWS], queries, k)
            rows, similarities = np.hstack([rows, start + found]), np.hstack([similarities, similar])
            best = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
            rows, similarities = np.take_along_axis(rows, best, axis=1), np.take_along_axis(similarities, best, axis=1)
        return rows, similarities

    def _chosen(self, within: VectorFilter) -> list[slice] | Rows:
        """Return the selected rows: as slices, or as row numbers if they are selected by id."""
        if within.ids is not None:
            return self.layout.rows(within)
        return [slice(*bounds) for bounds in self.layout.slices(within)]

    def _likely(self, query: Floats, k: int, chosen: list[slice] | Rows) -> tuple[Rows, Floats] | None:
        """Return the rows that codes choose, with their similarities; None if all selected rows should be compared.

        Returns None in three cases: comparing all is faster; the codes find fewer than `k` rows, or less similar rows than
        measured, because the query is unlike the vectors of the index; or the codes are damaged.
        """
        total, clusters = _number(chosen), self.clusters
        if clusters is None or total <= self._tuning.brute_force_max_rows:
            return None
        most_lists = total * _CODES_PER_ROW / len(self) * clusters.count
        # Planned one at a time: most searches end with the first.
        attempts = (effort for effort in clusters.attempts(k, total / len(self)) if effort.lists <= most_lists)
        first = next(attempts, None)
        if first is None:
            return None
        self._rows_selected += total
        if not clusters.is_read and self._rows_selected <= _LOAD_CODES_AFTER * len(self):
            return None
        try:
            similar = np.inf
            for effort in chain([first], attempts):
                if similar < effort.least:
                    continue
                rows = clusters.candidates(query, effort, chosen)
                similarities = self.vectors[rows].astype(np.float32) @ query
                if len(rows) >= k:
                    similar = np.partition(similarities, -k)[-k]
                    if similar >= effort.least:
                        return rows, similarities
        except (RuntimeError, IndexError) as error:  # damaged codes in a file whose stamp is unchanged
            self._report_damaged_codes(error)
        return None

    def _report_damaged_codes(self, error: Exception) -> None:
        """Log that the codes are damaged, and do not use them again."""
        _log.warning(
            "The codes of the vector index are damaged (%s); all rows are compared. Repair it: moodex doctor --repair", error
        )
        self.clusters = None

    def _compared(self, query: Floats, k: int, chosen: list[slice] | Rows) -> tuple[Rows, Floats]:
        """Return the k nearest rows of each part of the chosen ones, with their similarities."""
        rows, similarities = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.float32)]
        for part in _parts(chosen):
            nearest, similar = _nearest(self.vectors[part], query, k, self._tuning.rows_per_thread)
            rows.append(part.start + nearest if isinstance(part, slice) else part[nearest])
            similarities.append(similar)
        return np.concatenate(rows), np.concatenate(similarities)


def _number(chosen: list[slice] | Rows) -> int:
    return sum(one.stop - one.start for one in chosen) if isinstance(chosen, list) else len(chosen)


def _parts(chosen: list[slice] | Rows) -> Iterator[slice | Rows]:
    """Yield slices as they are, and row numbers, whose vectors must be copied, in chunks."""
    if isinstance(chosen, list):
        yield from chosen
    else:
        yield from (chosen[start : start + _GATHER_CHUNK_ROWS] for start in range(0, len(chosen), _GATHER_CHUNK_ROWS))


def _nearest(vectors: Halves, query: Floats, k: int, rows_per_thread: int) -> tuple[Rows, Floats]:
    """Return the k nearest of N contiguous vectors, float16, (N, D), compared in place; many in several threads."""
    shares = min(faiss.omp_get_max_threads(), len(vectors) // rows_per_thread)
    index = _in_threads(vectors, shares) if shares > 1 else _index(vectors)
    similarities, rows = index.search(query[None], min(k, len(vectors)))
    return rows[0], similarities[0]


def _in_threads(vectors: Halves, shares: int) -> Any:
    """Return a FAISS index that searches each share of the vectors in its own thread."""
    shards: Any = faiss.IndexShards
    index = shards(vectors.shape[1], True, True)  # in threads, numbered one after another
    for part in np.array_split(vectors, shares):
        index.add_shard(_index(part))
    return index


def _index(vectors: Halves) -> Any:
    """Return a FAISS index that reads vectors, float16, (N, D), in place."""
    codes: Any = faiss.MaybeOwnedVectorUInt8
    index: Any = faiss.IndexScalarQuantizer(vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True  # float16 needs no training
    index.codes = codes.create_view(faiss.swig_ptr(vectors.view(np.uint8)), vectors.nbytes, index.codes.owner)
    index.ntotal = len(vectors)
    return index
