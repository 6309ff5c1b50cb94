"""The file of a segment's rows: one column after another, ids, negated scores and vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from db.vectors.layout import Layout
from indexer.ports.vectors import VectorRows

if TYPE_CHECKING:
    from indexer.domain.types import Halves, Ids

_KEY_BYTES = 8 + 4
"""Bytes of an id and a score."""


def write_rows(path: Path, portions: Iterable[VectorRows], count: int) -> dict[int, tuple[int, int]]:
    """Write `count` rows, in portions in index order; return the rows, [start, stop), of each emotion."""
    parts: dict[int, tuple[int, int]] = {}
    done = 0
    with path.open("wb") as file:
        for rows in portions:
            size = rows.vectors.shape[1]
            for column, kind, offset in (
                (rows.ids, "<i8", 8 * done),
                (-rows.scores, "<f4", 8 * count + 4 * done),
                (rows.vectors, "<f2", _KEY_BYTES * count + 2 * size * done),
            ):
                file.seek(offset)
                file.write(np.ascontiguousarray(column, dtype=kind).data)
            for emotion, (start, stop) in Layout.of(rows).parts.items():
                first = parts[emotion][0] if emotion in parts else done + start
                parts[emotion] = (first, done + stop)
            done += len(rows.ids)
    return parts


def open_rows(path: Path, count: int, size: int, parts: Mapping[int, tuple[int, int]]) -> tuple[Layout, Halves]:
    """Map a file of `count` rows whose vectors have `size` numbers into memory. Raises ValueError for another number of bytes."""
    ids = np.memmap(path, dtype="<i8", mode="r", shape=(count,))
    falling = np.memmap(path, dtype="<f4", mode="r", offset=ids.nbytes, shape=(count,))
    vectors = np.memmap(path, dtype="<f2", mode="r", offset=_KEY_BYTES * count, shape=(count, size))
    if path.stat().st_size != ids.nbytes + falling.nbytes + vectors.nbytes:
        raise ValueError("it holds vectors of another size")
    # Plain views: numpy selects rows of its mapped arrays in Python.
    return Layout(np.asarray(ids), np.asarray(falling), parts), np.asarray(vectors)


class StoredVectors:
    """The N vectors in a file of rows, float16, (N, D), read like an array.

    They are copied from the file: the pages of a mapped file would stay in memory.
    """

    def __init__(self, path: Path, count: int, size: int) -> None:
        self.shape = (count, size)
        self._file = path.open("rb")

    def __enter__(self) -> StoredVectors:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Ids) -> Halves:
        """Return the vectors of some rows, (n, D)."""
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(len(self))
            data = self._read(start, stop)
        else:
            data = b"".join(self._read(row, row + 1) for row in rows.tolist())
        vectors: Halves = np.frombuffer(data, dtype="<f2").reshape(-1, self.shape[1])
        return vectors

    def _read(self, start: int, stop: int) -> bytes:
        count, size = self.shape
        self._file.seek(_KEY_BYTES * count + 2 * size * start)
        return self._file.read(2 * size * (stop - start))
