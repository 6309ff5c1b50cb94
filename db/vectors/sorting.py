"""The order of an index for more rows than memory holds: external sorting (Knuth, The Art of Computer Programming 3, 5.4).

Sorted portions of the rows, the runs, are written to a temporary file. The runs are then cut at the same keys, which regular
samples of them give (Shi and Schaeffer, "Parallel sorting by regular sampling", 1992), so that the parts between two cuts, one of
each run, fit into memory together.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib.recfunctions import repack_fields

from indexer.ports.vectors import VectorRows

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Records = npt.NDArray[np.void]
    """Rows as `_record_type` stores them."""

_KEY = [("emotion", "u1"), ("falling", "<f4"), ("id", "<i8")]
"""The columns by which rows are ordered; `falling` are negated scores."""

_NAMES = [name for name, _ in _KEY]

_SAMPLES_PER_RUN = 256


class _Run(NamedTuple):
    """Sorted records in the temporary file: their number, and where they begin, in bytes."""

    length: int
    offset: int


class RowSorter:
    """Sorts rows by emotion, then by falling score, then by age, with a few times `portion_bytes` of memory.

    Rows that fit into one portion stay in memory; others go through a file in `folder` that has no name, or is deleted when it is
    closed.
    """

    def __init__(self, folder: Path, portion_bytes: int) -> None:
        self._folder = folder
        self._portion_bytes = portion_bytes
        self._waiting: list[Records] = []
        self._runs: list[_Run] = []
        self._samples: list[Records] = []
        self._count = 0

    def __enter__(self) -> RowSorter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._runs:
            self._file.close()

    def __len__(self) -> int:
        return self._count

    def add(self, rows: VectorRows) -> None:
        """Add rows in any order."""
        records = _records(rows)
        if self._waiting and sum(one.nbytes for one in self._waiting) + records.nbytes > self._portion_bytes:
            self._write_run()
        self._waiting.append(records)
        self._count += len(records)

    def sorted(self) -> Iterator[VectorRows]:
        """Yield all rows in order, in portions. No rows can be added afterwards."""
        if not self._waiting:
            return
        if not self._runs:
            yield _rows(_in_order(self._waiting))
            return
        self._write_run()
        keys = _in_order(self._samples)[_SAMPLES_PER_RUN:-1:_SAMPLES_PER_RUN]
        cuts = [self._cuts(run, keys) for run in self._runs]
        for bounds in zip(*map(pairwise, cuts), strict=True):
            yield _rows(_in_order([self._read(run, *between) for run, between in zip(self._runs, bounds, strict=True)]))

    @cached_property
    def _file(self) -> IO[bytes]:
        """The temporary file of the runs."""
        return TemporaryFile(dir=self._folder)

    def _write_run(self) -> None:
        """Move the waiting records to the file, sorted."""
        records = _in_order(self._waiting)
        self._waiting = []
        self._runs.append(_Run(len(records), self._file.tell()))
        self._file.write(records.data)
        self._type = records.dtype
        self._samples.append(repack_fields(records[:: max(1, len(records) // _SAMPLES_PER_RUN)][_NAMES]))

    def _cuts(self, run: _Run, keys: Records) -> list[int]:
        """Return the first record of a run after each key, between 0 and the number of its records."""
        records = self._read(run, 0, run.length)
        return [0, *(_count_up_to(records, key) for key in keys), run.length]

    def _read(self, run: _Run, start: int, stop: int) -> Records:
        self._file.seek(run.offset + start * self._type.itemsize)
        return np.frombuffer(self._file.read((stop - start) * self._type.itemsize), dtype=self._type)


def _records(rows: VectorRows) -> Records:
    records = np.empty(len(rows.ids), dtype=[*_KEY, ("vector", "<f2", (rows.vectors.shape[1],))])
    records["emotion"], records["falling"], records["id"], records["vector"] = rows.emotions, -rows.scores, rows.ids, rows.vectors
    return records


def _rows(records: Records) -> VectorRows:
    return VectorRows(records["id"], records["emotion"], -records["falling"], records["vector"])


def _in_order(portions: list[Records]) -> Records:
    records = np.concatenate(portions)
    return records[np.lexsort((records["id"], records["falling"], records["emotion"]))]


def _count_up_to(records: Records, key: Any) -> int:
    """Return how many records in order are not after a key."""
    low, high = 0, len(records)
    for name in _NAMES:
        column = records[name][low:high]
        low, high = low + int(np.searchsorted(column, key[name])), low + int(np.searchsorted(column, key[name], side="right"))
    return high
