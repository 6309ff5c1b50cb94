"""Vector indexes over rows of the store: one in FAISS, one in plain numpy. Both implement `indexer.ports.vectors.VectorIndex`.

Rows are laid out by (emotion, falling score), so that a filter by emotion and least score is one contiguous slice an emotion.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import reduce
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

from db.vectors.clusters import Clusters, cluster
from db.vectors.layout import Layout, by_emotion
from indexer.ports.vectors import VectorFilter, VectorRows

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Floats, Halves, Ids

    Rows = npt.NDArray[np.int64]

_log = logging.getLogger(__name__)
BRUTE_FORCE_MAX_ROWS = 10_000
"""So many rows are all compared; of more, only the likely ones."""

CLUSTERED_MIN_ROWS = 50_000
_CODES_A_ROW = 4
"""Codes that are read in the time in which one row is compared."""

_READ_CHUNK_ROWS = 1.0
"""Rows that are compared, for each row of an index, in about the time in which all codes are read. Until questions were of more
rows than that, codes are left unread: who asks once does not wait for them.
"""

_GATHER_CHUNK_ROWS = 65_536

_ROWS_PER_THREAD = 100_000
"""Rows, some 3 ms' worth, that are worth a thread."""


class FaissVectors:
    """Rows in index order, compared by FAISS: `vectors`, float16, (N, D), may be mapped from a file.

    The stored vectors are float16 as well, so whatever is compared is exact. Of up to `FEW` selected rows, and of an index
    without clusters, all are; of more, once the codes are worth reading, those that clusters name. See `db.vectors.clusters`.
    """

    def __init__(self, layout: Layout, vectors: Halves, clusters: Clusters | None = None) -> None:
        self.layout = layout
        self.vectors = vectors
        self.clusters = clusters
        self._asked_of = 0

    @classmethod
    def build(cls, rows: VectorRows, like: FaissVectors | None = None) -> FaissVectors:
        """Index at least one row; from `CLUSTERED_MIN_ROWS` on with clusters, around the centres of `like` if they fit."""
        rows = by_emotion(rows)
        earlier = None if like is None else like.clusters
        clusters = cluster(rows.vectors, earlier) if len(rows.ids) >= CLUSTERED_MIN_ROWS else None
        return cls(Layout.of(rows), rows.vectors, clusters)

    def __len__(self) -> int:
        return len(self.layout)

    def search(self, query: Floats, k: int, within: VectorFilter) -> tuple[Ids, Floats]:
        query = np.ascontiguousarray(query, dtype=np.float32)
        chosen = self._chosen(within)
        found = None if within.exact else self._likely(query, k, chosen)
        rows, similarities = found or self._compared(query, k, chosen)
        best = np.argsort(-similarities, kind="stable")[:k]
        return self.layout.ids[rows[best]], similarities[best]

    def _chosen(self, within: VectorFilter) -> list[slice] | Rows:
        """The selected rows: as slices, or one by one where they are selected by id."""
        if within.ids is not None:
            return self.layout.rows(within)
        return [slice(*bounds) for bounds in self.layout.slices(within)]

    def _likely(self, query: Floats, k: int, chosen: list[slice] | Rows) -> tuple[Rows, Floats] | None:
        """Rows that codes name, and how similar they are; None where that would take longer than to compare all, and where they
        are too few or less similar than what was measured, as of a query unlike all that there is.
        """
        total, clusters = _number(chosen), self.clusters
        if clusters is None or total <= BRUTE_FORCE_MAX_ROWS:
            return None
        fewer = total * _CODES_A_ROW / len(self) * clusters.count
        attempts = [effort for effort in clusters.attempts(k, total / len(self)) if effort.lists <= fewer]
        if not attempts:
            return None
        self._asked_of += total
        if not clusters.is_read and self._asked_of <= _READ_CHUNK_ROWS * len(self):
            return None
        selector = None if total == len(self) else _selector(chosen, len(self))
        try:
            similar = np.inf
            for effort in attempts:
                if similar < effort.least:
                    continue
                rows = clusters.candidates(query, effort, selector)
                similarities = self.vectors[rows].astype(np.float32) @ query
                if len(rows) >= k:
                    similar = np.partition(similarities, -k)[-k]
                    if similar >= effort.least:
                        return rows, similarities
        except (RuntimeError, IndexError) as error:  # bits rotted in a file that looks untouched
            _log.warning(
                "The codes of the vector index are damaged (%s); all is compared. Mend it: moodex doctor --repair", error
            )
            self.clusters = None
        return None

    def _compared(self, query: Floats, k: int, chosen: list[slice] | Rows) -> tuple[Rows, Floats]:
        """The k nearest of each of some parts of the chosen rows, and how similar they are."""
        rows, similarities = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.float32)]
        for part in _parts(chosen):
            nearest, similar = _nearest(self.vectors[part], query, k)
            rows.append(part.start + nearest if isinstance(part, slice) else part[nearest])
            similarities.append(similar)
        return np.concatenate(rows), np.concatenate(similarities)


def _number(chosen: list[slice] | Rows) -> int:
    return sum(one.stop - one.start for one in chosen) if isinstance(chosen, list) else len(chosen)


def _parts(chosen: list[slice] | Rows) -> Iterator[slice | Rows]:
    """Slices as they are, and of single rows, whose vectors have to be brought together, not too many at once."""
    if isinstance(chosen, list):
        yield from chosen
    else:
        yield from (chosen[start : start + _GATHER_CHUNK_ROWS] for start in range(0, len(chosen), _GATHER_CHUNK_ROWS))


def _selector(chosen: list[slice] | Rows, count: int) -> Any:
    """A FAISS selector of the chosen of so many rows."""
    if isinstance(chosen, list):
        ranges: list[Any] = [faiss.IDSelectorRange(one.start, one.stop) for one in chosen]
        return reduce(faiss.IDSelectorOr, ranges)
    marked = np.zeros(count, dtype=bool)
    marked[chosen] = True
    bits = np.packbits(marked, bitorder="little")
    return faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg, arg-type]  # as FAISS's documentation has it


def _nearest(vectors: Halves, query: Floats, k: int) -> tuple[Rows, Floats]:
    """The k nearest of N vectors, float16, (N, D), that lie one behind the other in memory; they are compared where they
    are, where there are many in as many threads as there are cores.
    """
    shares = min(faiss.omp_get_max_threads(), len(vectors) // _ROWS_PER_THREAD)
    index = _in_threads(vectors, shares) if shares > 1 else _index(vectors)
    similarities, rows = index.search(query[None], min(k, len(vectors)))
    return rows[0], similarities[0]


def _in_threads(vectors: Halves, shares: int) -> Any:
    """A FAISS index of so many shares of vectors, as `_index` makes it of all, each searched in a thread of its own."""
    shards: Any = faiss.IndexShards
    index = shards(vectors.shape[1], True, True)  # in threads, numbered one after another
    for part in np.array_split(vectors, shares):
        index.add_shard(_index(part))
    return index


def _index(vectors: Halves) -> Any:
    """A FAISS index of vectors, float16, (N, D), that it reads where they are."""
    codes: Any = faiss.MaybeOwnedVectorUInt8
    index: Any = faiss.IndexScalarQuantizer(vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True  # float16 has nothing to learn
    index.codes = codes.create_view(faiss.swig_ptr(vectors.view(np.uint8)), vectors.nbytes, index.codes.owner)
    index.ntotal = len(vectors)
    return index
