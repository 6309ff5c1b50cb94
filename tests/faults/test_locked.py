"""Another program holds the database locked, with SQLite's own lock, which ours does not show: a bounded wait, and a sentence."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from indexer.domain.errors import WriterBusy
from indexer.ingest import service as ingest_service
from indexer.ingest.run import IndexRequest
from tests.faults.conftest import PICTURES, Program, sentence, state
from tests.support.builders import write_images
from tests.support.library import Library, counts
from tests.support.quiet import Remembered

PATIENCE = 0.2


@contextmanager
def held(database: Path, *statements: str) -> Iterator[None]:
    with closing(sqlite3.connect(database, isolation_level=None)) as foreign:
        for statement in (*statements, "BEGIN EXCLUSIVE"):
            foreign.execute(statement)
        yield


def said_of(database: Path) -> str:
    return (
        f"Another program holds a lock on the database {database}, and moodex waited 0 s for it. Close that program, "
        "then run the same command again."
    )


def test_who_would_write_gives_up_and_who_reads_need_not_wait(library: Library, program: Program) -> None:
    library.index()
    before = state(library)
    write_images(library.folder, 1, first_seed=500)
    database = library.settings.database
    with held(database):
        for words in (["index", library.folder], ["label", library.folder, "-e", "sad"]):
            assert sentence(program.run(*words, patience=PATIENCE), 4) == said_of(database)
        like = library.folder / "003.png"
        for words in (["status"], ["search", "-e", "happy"], ["search", "--like", like], ["show", like], ["doctor"], ["runs"]):
            done = program.run(*words)
            assert (done.returncode, done.stderr) == (0, ""), words
        assert state(library) == before
    assert program.run("index", library.folder).returncode == 0
    assert len(state(library)) == PICTURES + 1


def test_a_program_that_lets_nobody_read_either(library: Library, program: Program) -> None:
    library.index()
    database = library.settings.database
    with held(database, "PRAGMA locking_mode = EXCLUSIVE"):
        for words in (["status"], ["search", "-e", "happy"], ["doctor"], ["label", "--list"], ["index", library.folder]):
            assert sentence(program.run(*words, patience=PATIENCE), 4) == said_of(database), words
    assert program.run("doctor").returncode == 0


class Taken(Remembered):
    """A progress during which, after some commits, another program takes the lock."""

    def __init__(self, database: Path) -> None:
        super().__init__()
        self._database = database
        self.foreign: sqlite3.Connection | None = None

    def advance(self, done: int, failed: int) -> None:
        super().advance(done, failed)
        if self.foreign is None and self.done >= PICTURES // 2:
            self.foreign = sqlite3.connect(self._database, isolation_level=None)
            self.foreign.execute("BEGIN IMMEDIATE")


def test_a_lock_that_is_taken_in_the_middle_of_a_run(
    library: Library, undisturbed: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.sqlite.engine.BUSY_TIMEOUT_SECONDS", PATIENCE)
    progress = Taken(library.settings.database)
    with pytest.raises(WriterBusy, match="Another program holds a lock") as caught:
        ingest_service.index(library.opened, [bytes(library.folder)], IndexRequest(), progress)
    assert caught.value.exit_code == 4
    assert progress.foreign is not None
    progress.foreign.close()
    summary = library.index()
    assert counts(summary) == {"scanned": PICTURES, "unchanged": progress.done, "indexed": PICTURES - progress.done}
    assert state(library) == undisturbed
