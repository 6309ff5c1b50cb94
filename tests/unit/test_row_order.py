"""The order of the rows of an index, for rows that do not fit into memory, and the file that holds them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.vectors.layout import by_emotion
from db.vectors.row_file import StoredVectors, open_rows, write_rows
from db.vectors.sorting import RowSorter
from indexer.ports.vectors import VectorRows
from tests.support.builders import rows
from tests.support.effort import examples

_ROW_BYTES = 1 + 4 + 8 + 2 * 16


def in_portions(all_rows: VectorRows, portion_rows: int) -> Iterator[VectorRows]:
    for start in range(0, len(all_rows.ids), portion_rows):
        yield VectorRows(*(column[start : start + portion_rows] for column in all_rows))


@given(
    count=st.integers(1, 400),
    portion_rows=st.integers(1, 50),
    runs=st.integers(1, 60),
    score_count=st.integers(1, 30),
    seed=st.integers(0, 2**16),
)
@examples(60)
def test_any_number_of_runs_gives_the_order_of_memory(
    tmp_path_factory: pytest.TempPathFactory, count: int, portion_rows: int, runs: int, score_count: int, seed: int
) -> None:
    all_rows = rows(count, seed=seed)
    all_rows = all_rows._replace(scores=np.random.default_rng(seed).integers(0, score_count, count).astype(np.float32) / 30)
    folder = tmp_path_factory.mktemp("sort")
    with RowSorter(folder, _ROW_BYTES * -(-count // runs)) as sorter:
        for portion in in_portions(all_rows, portion_rows):
            sorter.add(portion)
        assert len(sorter) == count
        found = [np.concatenate(columns) for columns in zip(*sorter.sorted(), strict=True)]
    for column, expected in zip(found, by_emotion(all_rows), strict=True):
        np.testing.assert_array_equal(column, expected)
    assert list(folder.iterdir()) == []


def test_portions_stay_small_however_many_rows_are_alike(tmp_path: Path) -> None:
    """Rows with one emotion and one score differ by id only, and are still cut into portions."""
    all_rows = rows(60_000, size=2)._replace(scores=np.ones(60_000, dtype=np.float32), emotions=np.zeros(60_000, dtype=np.uint8))
    with RowSorter(tmp_path, (13 + 4) * 6_000) as sorter:
        for portion in in_portions(all_rows, 1_000):
            sorter.add(portion)
        sizes = [len(portion.ids) for portion in sorter.sorted()]
    assert sum(sizes) == 60_000 and max(sizes) < 8_000


def test_the_runs_are_in_a_file_without_a_name(tmp_path: Path) -> None:
    with RowSorter(tmp_path, _ROW_BYTES) as sorter:
        for portion in in_portions(rows(20), 1):
            sorter.add(portion)
        assert list(tmp_path.iterdir()) == []


def test_a_file_of_rows_is_written_in_portions_and_read_in_parts(tmp_path: Path) -> None:
    ordered, path = by_emotion(rows(100)), tmp_path / "x.rows"
    parts = write_rows(path, in_portions(ordered, 7), 100)
    layout, vectors = open_rows(path, 100, 16, parts)
    np.testing.assert_array_equal(layout.ids, ordered.ids)
    np.testing.assert_array_equal(layout.falling, -ordered.scores)
    np.testing.assert_array_equal(vectors, ordered.vectors)
    assert [ordered.emotions[start:stop].tolist() for start, stop in parts.values()] == [
        [emotion] * (stop - start) for emotion, (start, stop) in parts.items()
    ]
    with StoredVectors(path, 100, 16) as stored:
        assert len(stored) == 100 and stored.shape == (100, 16)
        np.testing.assert_array_equal(stored[90:200], ordered.vectors[90:])
        np.testing.assert_array_equal(stored[np.array([99, 0, 0])], ordered.vectors[[99, 0, 0]])
        assert stored[np.empty(0, dtype=np.int64)].shape == (0, 16)
    with pytest.raises(ValueError, match="another size"):
        open_rows(path, 99, 16, parts)
