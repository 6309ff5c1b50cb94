"""Rows of a vector index in memory, grouped by emotion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from indexer.ports.vectors import VectorFilter, VectorRows

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Floats, Ids

    Rows = npt.NDArray[np.int64]


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

    def slices(self, within: VectorFilter) -> list[tuple[int, int]]:
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

    def rows(self, within: VectorFilter) -> Rows:
        """The rows that a selection lets through, ascending."""
        slices = self.slices(within)
        if within.ids is None:
            rows = [np.arange(start, stop) for start, stop in slices]
        else:
            allowed = np.isin(self.ids, within.ids)
            rows = [np.flatnonzero(allowed[start:stop]) + start for start, stop in slices]
        return np.concatenate([np.empty(0, dtype=np.int64), *rows])
