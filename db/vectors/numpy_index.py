"""Exact search of a few vectors with numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from db.vectors.layout import Layout, by_emotion

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Floats, Ids
    from indexer.ports.vectors import VectorFilter, VectorRows

    Rows = npt.NDArray[np.int64]


class NumpyVectors:
    """Exact search by one matrix product, for few rows and for tests."""

    def __init__(self, rows: VectorRows) -> None:
        rows = by_emotion(rows)
        self._layout = Layout.of(rows)
        self._vectors = rows.vectors

    def __len__(self) -> int:
        return len(self._layout)

    def search(self, query: Floats, k: int, within: VectorFilter) -> tuple[Ids, Floats]:
        rows = self._layout.rows(within)
        similarities = self._vectors[rows].astype(np.float32) @ query
        best = np.argsort(-similarities, kind="stable")[:k]
        return self._layout.ids[rows[best]], similarities[best]

    def nearest(self, queries: Floats, k: int) -> tuple[Ids, Floats]:
        similarities = queries @ self._vectors.astype(np.float32).T
        rows = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
        return padded(self._layout.ids[rows], np.take_along_axis(similarities, rows, axis=1), k)


def padded(ids: Ids, similarities: Floats, k: int) -> tuple[Ids, Floats]:
    """Return ids, int64, (Q, n), and similarities, float32, (Q, n), n <= k, with k columns: -1 and minus infinity at the end."""
    missing = ((0, 0), (0, k - ids.shape[1]))
    return np.pad(ids, missing, constant_values=-1), np.pad(similarities, missing, constant_values=-np.inf)
