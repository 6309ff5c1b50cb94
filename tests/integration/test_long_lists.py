"""Lists that users can make long: no statement grows with them, and none is executed for each entry."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from db.sqlite.database import SqliteDatabase
from db.sqlite.store import SqliteStore
from indexer.domain.predictions import LabelAssignment
from indexer.domain.queries import SearchRequest
from indexer.labels import service as labels_service
from indexer.search import service as search_service
from indexer.search.counts import count_emotions
from tests.support.builders import write_images
from tests.support.library import Library, counts


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """The statements that are executed in a test."""
    executed: list[str] = []

    def record(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        executed.append(statement)

    event.listen(Engine, "before_cursor_execute", record)
    yield executed
    event.remove(Engine, "before_cursor_execute", record)


def test_thousands_of_named_files_take_a_few_statements(library: Library, statements: list[str]) -> None:
    (image,) = write_images(library.folder, 1)
    for number in range(1500):
        os.link(image, library.folder / f"copy{number}.png")
    paths = sorted(library.folder.iterdir())
    assert counts(library.index(*paths)) == {"scanned": 1501, "indexed": 1, "reused": 1500}
    statements.clear()
    assert counts(library.index(*paths)) == {"scanned": 1501, "unchanged": 1501}
    assert len(statements) < 100 and max(map(len, statements)) < 10_000
    for path in paths[:700]:
        path.unlink()
    statements.clear()
    summary = library.index(*paths)
    # The others are links to the same file, whose change time is now.
    assert (summary.kept, summary.reused, len(library.progress.warnings)) == (700, 801, 11)
    assert len(statements) < 2000


@pytest.fixture
def steps() -> Iterator[list[None]]:
    """One entry for each thousand steps of SQLite in a test."""
    done: list[None] = []

    def count(connection: sqlite3.Connection, _record: object) -> None:
        connection.set_progress_handler(lambda: done.append(None), 1000)

    event.listen(Engine, "connect", count)
    yield done
    event.remove(Engine, "connect", count)


def test_the_work_for_copies_of_one_image_grows_with_their_number(library: Library, steps: list[None]) -> None:
    (image,) = write_images(library.folder, 1)
    work = []
    for first, last in ((0, 500), (500, 2500)):
        for number in range(first, last):
            os.link(image, library.folder / f"copy{number}.png")
        steps.clear()
        library.index()
        work.append(len(steps))
    assert work[1] < 8 * work[0]  # it has four times as many new copies; their pairs would be 20 times as many


def test_hundreds_of_own_emotions_can_be_searched(library: Library, statements: list[str]) -> None:
    paths = write_images(library.folder, 600)
    library.index()
    assignments = [LabelAssignment(os.fsencode(path), f"mood{number}") for number, path in enumerate(paths)]
    assert labels_service.label(library.opened, assignments, new=True).changed == 600
    statements.clear()
    assert len(library.search(excluded=("happy",))) == 600
    assert len(library.search(min_score=0.5, limit=7)) == 7
    assert len(library.search(emotions=tuple(f"mood{number}" for number in range(550)))) == 550
    assert [hit.label for hit in library.search(emotions=("mood5",), like=os.fsencode(paths[0]))] == ["mood5"]
    assert max(map(len, statements)) < 300_000
    statements.clear()
    totals = count_emotions(library.opened, SearchRequest(), 10_000).emotions
    assert [one.total.number for one in totals if one.is_own] == [1] * 600
    assert len(statements) < 100


def test_many_images_are_shown_with_one_opened_library(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [os.fsencode(path) for path in write_images(library.folder, 30)]
    library.index()
    opened: list[bool] = []
    real_open = SqliteDatabase.open

    def counted(self: SqliteDatabase, reading: bool = False) -> AbstractContextManager[SqliteStore]:
        opened.append(reading)
        return real_open(self, reading)

    monkeypatch.setattr(SqliteDatabase, "open", counted)
    shown = list(search_service.show_all(library.opened, [*paths, b"missing.png"], lambda error: None))
    assert [hits[0].path for hits in shown] == paths and opened == [True]


def test_many_roots_that_moved_take_a_few_statements_each(library: Library, statements: list[str]) -> None:
    """Each of many roots moved, and lost a file."""
    old, new = library.folder / "old", library.folder / "new"
    lost: list[Path] = []
    for number in range(60):
        lost.append(write_images(old / str(number), 3, first_seed=3 * number)[0])
    library.index(*old.iterdir())
    for file in lost:
        file.unlink()
    old.rename(new)
    statements.clear()
    assert counts(library.index(new)) == {"scanned": 120, "moved": 120, "removed": 60}
    assert len(statements) < 15 * 60
