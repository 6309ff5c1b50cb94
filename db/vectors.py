"""Vector indexes over rows of the store: one in FAISS, one in plain numpy. Both implement `indexer.ports.VectorIndex`.

Rows are laid out by (emotion, falling score), so that a filter by emotion and least score is one contiguous slice an emotion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

from db.clusters import Clusters, cluster
from indexer.ports import Selection, VectorRows

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain import Floats, Ids

FEW = 20_000
"""So many rows are compared one by one; of more, only those in the clusters nearest to the query."""

_CLUSTERED_FROM = 50_000
_ADDED_AT_ONCE = 65_536


def by_emotion(rows: VectorRows) -> VectorRows:
    """The rows in index order: by emotion, best score first, oldest first."""
    order = np.lexsort((rows.ids, -rows.scores, rows.emotions))
    return VectorRows(rows.ids[order], rows.emotions[order], rows.scores[order], rows.vectors[order])


class Layout:
    """What is known of the N rows of an index besides their vectors.

    `ids`, int64, (N,), and `falling`, float32, (N,), the scores with their signs turned, are in index order; `parts` says which
    rows, [start, stop), an emotion has.
    """

    def __init__(self, ids: Ids, falling: Floats, parts: Mapping[int, tuple[int, int]]) -> None:
        self.ids = ids
        self.falling = falling
        self.parts = parts

    @classmethod
    def of(cls, rows: VectorRows) -> Layout:
        """The layout of rows that are in index order."""
        emotions, starts, counts = np.unique(rows.emotions, return_index=True, return_counts=True)
        bounds = zip(emotions.tolist(), starts.tolist(), counts.tolist(), strict=True)
        return cls(rows.ids, -rows.scores, {emotion: (start, start + count) for emotion, start, count in bounds})

    def __len__(self) -> int:
        return len(self.ids)

    def slices(self, within: Selection) -> list[tuple[int, int]]:
        """The row ranges [start, stop) that a selection lets through, its ids aside, ascending; neighbours are one range."""
        found: list[tuple[int, int]] = []
        for emotion, (start, stop) in sorted(self.parts.items()):
            if within.emotions is not None and emotion not in within.emotions:
                continue
            end = stop if within.min_score <= 0 else start + self._scoring(start, stop, within.min_score)
            if found and found[-1][1] == start:
                found[-1] = (found[-1][0], end)
            elif end > start:
                found.append((start, end))
        return found

    def _scoring(self, start: int, stop: int, least: float) -> int:
        """How many of an emotion's rows have at least a score."""
        return int(np.searchsorted(self.falling[start:stop], np.float32(-least), side="right"))

    def rows(self, within: Selection) -> npt.NDArray[np.int64]:
        """The rows that a selection lets through, ascending."""
        slices = self.slices(within)
        if within.ids is None:
            rows = [np.arange(start, stop) for start, stop in slices]
        else:
            allowed = np.isin(self.ids, within.ids)
            rows = [np.flatnonzero(allowed[start:stop]) + start for start, stop in slices]
        return np.concatenate([np.empty(0, dtype=np.int64), *rows])


class NumpyVectors:
    """Exact search by one matrix product: right for few rows, and what the other is checked against."""

    def __init__(self, rows: VectorRows) -> None:
        rows = by_emotion(rows)
        self._layout = Layout.of(rows)
        self._vectors = rows.vectors

    def __len__(self) -> int:
        return len(self._layout)

    def search(self, query: Floats, k: int, within: Selection) -> tuple[Ids, Floats]:
        rows = self._layout.rows(within)
        similarities = self._vectors[rows].astype(np.float32) @ query
        best = np.argsort(-similarities, kind="stable")[:k]
        return self._layout.ids[rows[best]], similarities[best]


class FaissVectors:
    """FAISS over float16 codes, searched slice by slice.

    The stored vectors are float16 as well, so up to `FEW` selected rows, and all of an index without clusters, are searched
    exactly. With clusters (an inverted file), of more rows the likely ones are; see `db.clusters`.
    """

    def __init__(self, layout: Layout, index: Any, clusters: Clusters | None = None) -> None:
        if index.ntotal != len(layout):
            raise ValueError(f"{index.ntotal} vectors for {len(layout)} rows")
        self.layout = layout
        self.index = index
        self.clusters = clusters

    @classmethod
    def build(cls, rows: VectorRows, like: FaissVectors | None = None, clustered_from: int = _CLUSTERED_FROM) -> FaissVectors:
        """An index of at least one row; with clusters from so many rows on, those of an earlier index if they still fit."""
        rows = by_emotion(rows)
        layout = Layout.of(rows)
        if len(rows.ids) >= clustered_from:
            earlier = (like.index, like.clusters) if like is not None and like.clusters is not None else None
            return cls(layout, *cluster(rows.vectors, earlier))
        index = faiss.IndexScalarQuantizer(rows.vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        index.is_trained = True  # float16 has nothing to learn
        for start in range(0, len(rows.ids), _ADDED_AT_ONCE):
            index.add(rows.vectors[start : start + _ADDED_AT_ONCE].astype(np.float32))
        return cls(layout, index)

    def __len__(self) -> int:
        return len(self.layout)

    def search(self, query: Floats, k: int, within: Selection) -> tuple[Ids, Floats]:
        selected = list(self._selectors(within))
        total = sum(size for _, size in selected)
        probes = 0
        if self.clusters is not None:
            probes = self.clusters.count if total <= FEW else self.clusters.probes(k * len(self) / total)
        given = np.ascontiguousarray(query[None], dtype=np.float32)
        found = [self._nearest(given, min(k, size), selector, probes) for selector, size in selected]
        rows = np.concatenate([np.empty(0, dtype=np.int64), *(rows for rows, _ in found)])
        similarities = np.concatenate([np.empty(0, dtype=np.float32), *(similarities for _, similarities in found)])
        best = np.argsort(-similarities, kind="stable")[:k]
        return self.layout.ids[rows[best]], similarities[best]

    def _selectors(self, within: Selection) -> Iterator[tuple[Any, int]]:
        """FAISS selectors, each with the number of rows it lets through."""
        if within.ids is not None:
            rows = self.layout.rows(within)
            if len(rows):
                chosen = np.zeros(len(self), dtype=bool)
                chosen[rows] = True
                bits = np.packbits(chosen, bitorder="little")
                yield faiss.IDSelectorBitmap(bits), len(rows)  # type: ignore[call-arg, arg-type]  # as FAISS's documentation has it
            return
        for start, stop in self.layout.slices(within):
            # The numbers in each cluster ascend, so that FAISS need not look at those outside the range.
            yield faiss.IDSelectorRange(start, stop, True), stop - start

    def _nearest(self, query: Floats, k: int, selector: Any, probes: int) -> tuple[npt.NDArray[np.int64], Floats]:
        """The k nearest rows among those selected, of which there are so many; `probes` clusters are looked into, if any."""
        if self.clusters is None:
            parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]  # faiss sets attributes from keywords
            similarities, rows = self.index.search(query, k, params=parameters)
        elif probes < self.clusters.count:
            few = faiss.SearchParametersIVF(sel=selector, nprobe=probes)  # type: ignore[call-arg]
            similarities, rows = self.index.search(query, k, params=few)
            if rows[0, -1] < 0:  # these clusters hold too few
                return self._nearest(query, k, selector, self.clusters.count)
        else:
            similarities, rows = self._in_all_clusters(query, k, selector)
        return rows[0], similarities[0]

    def _in_all_clusters(self, query: Floats, k: int, selector: Any) -> tuple[Floats, npt.NDArray[np.int64]]:
        """As FAISS's `search`, told which clusters to look into: all. It would compare the query with every centre and sort them
        first, which takes longer than all else where few rows are selected.
        """
        count = self.index.nlist
        clusters, distances = np.arange(count, dtype=np.int64), np.zeros(count, dtype=np.float32)
        similarities, rows = np.empty((1, k), dtype=np.float32), np.empty((1, k), dtype=np.int64)
        arrays = [faiss.swig_ptr(array) for array in (clusters, distances, similarities, rows)]
        parameters = faiss.SearchParametersIVF(sel=selector, nprobe=count)  # type: ignore[call-arg]
        # The C++ method: its Python wrapper takes no parameters.
        self.index.search_preassigned_c(1, faiss.swig_ptr(query), k, *arrays, False, parameters)
        return similarities, rows
