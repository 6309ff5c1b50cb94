"""Exact search of a few vectors with numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from db.vectors.layout import Layout, by_emotion

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Doubles, Floats, Halves, Ids
    from indexer.ports.vectors import VectorFilter, VectorRows

    Rows = npt.NDArray[np.int64]

_BLOCK_ROWS = 16


class NumpyVectors:
    """Exact search by one matrix product, for few rows and for tests."""

    def __init__(self, rows: VectorRows) -> None:
        rows = by_emotion(rows)
        self._layout = Layout.of(rows)
        self._vectors = rows.vectors

    def __len__(self) -> int:
        return len(self._layout)

    def search(self, query: Floats, k: int, within: VectorFilter) -> tuple[Ids, Doubles]:
        rows = self._layout.rows(within)
        similarities = self._vectors[rows].astype(np.float32) @ query
        best = rows[np.argsort(-similarities, kind="stable")[:k]]
        return by_similarity(self._layout.ids[best], self._vectors[best], query)

    def nearest(self, queries: Floats, k: int) -> tuple[Ids, Floats]:
        rows, similarities = best_of_many(self._vectors, queries, k)
        return padded(self._layout.ids[rows], similarities, k)


def by_similarity(ids: Ids, vectors: Halves, query: Floats) -> tuple[Ids, Doubles]:
    """Order n rows by the similarity of their vectors, float16, (n, D), to a query, as `VectorIndex.search` returns them.

    A sum does not depend on the other rows, as it may in a matrix product.
    """
    similarities = np.einsum("ij,j->i", vectors.astype(np.float64), query.astype(np.float64))
    best = np.argsort(-similarities, kind="stable")
    return ids[best], similarities[best]


def best_of_many(vectors: Halves, queries: Floats, k: int) -> tuple[Rows, Floats]:
    """Return the rows of the k vectors most similar to each query, (Q, n), and their similarities, float32, (Q, n), best first.

    `vectors` is float16, (N, D); `queries` float32, (Q, D); n is k, or N if that is less. The k most similar rows are in the k
    blocks with the greatest maxima, so few similarities are sorted.
    """
    similarities = queries @ vectors.astype(np.float32).T
    rows = np.broadcast_to(np.arange(len(vectors)), similarities.shape)
    blocks = len(vectors) // _BLOCK_ROWS
    if blocks > k:  # a block is every `blocks`-th row: then its maximum is one of columns, which numpy computes fast
        whole = blocks * _BLOCK_ROWS
        maxima = similarities[:, :whole].reshape(len(queries), _BLOCK_ROWS, blocks).max(axis=1)
        chosen = np.argpartition(maxima, blocks - k, axis=1)[:, None, blocks - k :]
        in_blocks = (chosen + blocks * np.arange(_BLOCK_ROWS)[:, None]).reshape(len(queries), -1)
        rows = np.hstack([in_blocks, rows[:, whole:]])
        similarities = np.take_along_axis(similarities, rows, axis=1)
    if rows.shape[1] > k:
        kept = np.argpartition(similarities, rows.shape[1] - k, axis=1)[:, -k:]
        rows, similarities = np.take_along_axis(rows, kept, axis=1), np.take_along_axis(similarities, kept, axis=1)
    best = np.argsort(-similarities, axis=1, kind="stable")
    return np.take_along_axis(rows, best, axis=1), np.take_along_axis(similarities, best, axis=1)


def padded(ids: Ids, similarities: Floats, k: int) -> tuple[Ids, Floats]:
    """Return ids, int64, (Q, n), and similarities, float32, (Q, n), n <= k, with k columns: -1 and minus infinity at the end."""
    missing = ((0, 0), (0, k - ids.shape[1]))
    return np.pad(ids, missing, constant_values=-1), np.pad(similarities, missing, constant_values=-np.inf)
