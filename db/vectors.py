"""Vector indexes over rows of the store: one in FAISS, one in plain numpy. Both implement `indexer.ports.VectorIndex`.

Rows are laid out by (emotion, falling score), so that a filter by emotion and least score is one contiguous slice an emotion.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

from indexer.ports import Selection, VectorRows

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain import Floats, Ids, Pixels

_ADDED_AT_ONCE = 65_536


def by_emotion(rows: VectorRows) -> VectorRows:
    """The rows in index order: by emotion, best score first, oldest first."""
    order = np.lexsort((rows.ids, -rows.scores, rows.emotions))
    return VectorRows(rows.ids[order], rows.emotions[order], rows.scores[order], rows.vectors[order])


class Layout:
    """What is known of the rows of an index besides their vectors: N ids, emotions and scores, in index order."""

    def __init__(self, ids: Ids, emotions: Pixels, scores: Floats) -> None:
        self.ids = ids
        self.emotions = emotions
        self.scores = scores

    def __len__(self) -> int:
        return len(self.ids)

    def slices(self, within: Selection) -> Iterator[tuple[int, int]]:
        """The row ranges [start, stop) that a selection lets through, its ids aside."""
        if within.emotions is None and within.min_score <= 0:
            if len(self):
                yield 0, len(self)
            return
        wanted = np.unique(self.emotions) if within.emotions is None else sorted(within.emotions)
        for emotion in wanted:
            start, end = np.searchsorted(self.emotions, [emotion, int(emotion) + 1])
            stop = start + np.searchsorted(-self.scores[start:end], -np.float32(within.min_score), side="right")
            if stop > start:
                yield int(start), int(stop)

    def rows(self, within: Selection) -> npt.NDArray[np.int64]:
        """The rows that a selection lets through, ascending."""
        if within.ids is None:
            rows = [np.arange(start, stop) for start, stop in self.slices(within)]
        else:
            allowed = np.isin(self.ids, within.ids)
            rows = [np.flatnonzero(allowed[start:stop]) + start for start, stop in self.slices(within)]
        return np.concatenate([np.empty(0, dtype=np.int64), *rows])


class NumpyVectors:
    """Exact search by one matrix product: right for few rows, and what the other is checked against."""

    def __init__(self, rows: VectorRows) -> None:
        rows = by_emotion(rows)
        self._layout = Layout(rows.ids, rows.emotions, rows.scores)
        self._vectors = rows.vectors

    def __len__(self) -> int:
        return len(self._layout)

    def search(self, query: Floats, k: int, within: Selection) -> tuple[Ids, Floats]:
        rows = self._layout.rows(within)
        similarities = self._vectors[rows].astype(np.float32) @ query
        best = np.argsort(-similarities, kind="stable")[:k]
        return self._layout.ids[rows[best]], similarities[best]


class FaissVectors:
    """FAISS over float16 codes, searched slice by slice: exact, for the vectors are stored as float16 anyway."""

    def __init__(self, layout: Layout, index: Any) -> None:
        if index.ntotal != len(layout):
            raise ValueError(f"{index.ntotal} vectors for {len(layout)} rows")
        self.layout = layout
        self.index = index

    @classmethod
    def build(cls, rows: VectorRows) -> FaissVectors:
        """An index of at least one row."""
        rows = by_emotion(rows)
        index = faiss.IndexScalarQuantizer(rows.vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        index.is_trained = True  # float16 has nothing to learn
        for start in range(0, len(rows.ids), _ADDED_AT_ONCE):
            index.add(rows.vectors[start : start + _ADDED_AT_ONCE].astype(np.float32))
        return cls(Layout(rows.ids, rows.emotions, rows.scores), index)

    def __len__(self) -> int:
        return len(self.layout)

    def search(self, query: Floats, k: int, within: Selection) -> tuple[Ids, Floats]:
        found = [self._search(query, k, selector) for selector in self._selectors(within)]
        rows = np.concatenate([np.empty(0, dtype=np.int64), *(rows for rows, _ in found)])
        similarities = np.concatenate([np.empty(0, dtype=np.float32), *(similarities for _, similarities in found)])
        best = np.argsort(-similarities, kind="stable")[:k]
        return self.layout.ids[rows[best]], similarities[best]

    def _selectors(self, within: Selection) -> Iterator[tuple[Any, int]]:
        """FAISS selectors, each with the number of rows it lets through."""
        if within.ids is not None:
            rows = self.layout.rows(within)
            if len(rows):
                yield faiss.IDSelectorBatch(rows), len(rows)
            return
        for start, stop in self.layout.slices(within):
            yield faiss.IDSelectorRange(start, stop), stop - start

    def _search(self, query: Floats, k: int, selected: tuple[Any, int]) -> tuple[npt.NDArray[np.int64], Floats]:
        selector, size = selected
        parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]  # faiss sets attributes from keywords
        similarities, rows = self.index.search(
            np.ascontiguousarray(query[None], dtype=np.float32), min(k, size), params=parameters
        )
        return rows[0], similarities[0]
