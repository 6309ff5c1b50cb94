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
