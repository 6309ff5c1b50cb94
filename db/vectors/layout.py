"""The row order of a vector index: grouped by emotion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from indexer.ports.vectors import VectorFilter, VectorRows

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Floats, Ids

    Rows = npt.NDArray[np.int64]


def by_emotion(rows: VectorRows) -> VectorRows:
    """Return rows in index order: by emotion, then by falling score, then by age."""
    order = np.lexsort((rows.ids, -rows.scores, rows.emotions))
    return VectorRows(rows.ids[order], rows.emotions[order], rows.scores[order], rows.vectors[order])


def in_portions(rows: VectorRows | Iterable[VectorRows]) -> Iterator[VectorRows]:
    """Yield rows that are in memory as one portion, and portions as they are."""
    yield from [rows] if isinstance(rows, VectorRows) else rows


class Layout:
    """The N rows of an index without their vectors.

    `ids`, int64, (N,), and `falling`, float32, (N,), the negated scores, are in index order; `parts` are the rows, [start, stop),
    of each emotion.
    """

    def __init__(self, ids: Ids, falling: Floats, parts: Mapping[int, tuple[int, int]]) -> None:
        self.ids = ids
        self.falling = falling
        self.parts = parts

    @classmethod
    def of(cls, rows: VectorRows) -> Layout:
        """Return the layout of rows in index order."""
        emotions, starts, counts = np.unique(rows.emotions, return_index=True, return_counts=True)
        bounds = zip(emotions.tolist(), starts.tolist(), counts.tolist(), strict=True)
        return cls(rows.ids, -rows.scores, {emotion: (start, start + count) for emotion, start, count in bounds})

    def __len__(self) -> int:
        return len(self.ids)

    def slices(self, within: VectorFilter) -> list[tuple[int, int]]:
        """Return the row ranges, [start, stop), that pass a filter without its ids, ascending and merged."""
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
        """Return how many rows of an emotion have at least a score."""
        return int(np.searchsorted(self.falling[start:stop], np.float32(-least), side="right"))

    def rows(self, within: VectorFilter) -> Rows:
        """Return the rows that pass a filter, ascending."""
        slices = self.slices(within)
        if within.ids is None:
            rows = [np.arange(start, stop) for start, stop in slices]
        else:
            allowed = np.isin(self.ids, within.ids)
            rows = [np.flatnonzero(allowed[start:stop]) + start for start, stop in slices]
        return np.concatenate([np.empty(0, dtype=np.int64), *rows])
