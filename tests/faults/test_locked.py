"""Another program holds SQLite's own lock on the database: moodex waits for a limited time, then prints one sentence."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from indexer.domain.errors import WriterBusy
from indexer.ingest import service as ingest_service
from indexer.ingest.run import IndexRequest
from tests.faults.conftest import IMAGES, Program, error_sentence, library_state
from tests.support.builders import write_images
from tests.support.library import Library, counts
from tests.support.quiet import Remembered

LOCK_TIMEOUT_SECONDS = 0.2


@contextmanager
def locked(database: Path, *statements: str) -> Iterator[None]:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for statement in (*statements, "BEGIN EXCLUSIVE"):
            connection.execute(statement)
        yield


def busy_message(database: Path) -> str:
    return (
        f"Another program holds a lock on the database {database}, and moodex waited 0 s for it. Close that program, "
        "then run the same command again."
    )


def test_writers_give_up_and_readers_do_not_wait(library: Library, program: Program) -> None:
    library.index()
    before = library_state(library)
    write_images(library.folder, 1, first_seed=500)
    database = library.settings.database
    with locked(database):
        for command in (["index", library.folder], ["label", library.folder, "-e", "sad"]):
            assert error_sentence(program.run(*command, lock_timeout_seconds=LOCK_TIMEOUT_SECONDS), 4) == busy_message(database)
        like = library.folder / "003.png"
        for command in (["status"], ["search", "-e", "happy"], ["search", "--like", like], ["show", like], ["doctor"], ["runs"]):
            done = program.run(*command)
            assert (done.returncode, done.stderr) == (0, ""), command
        assert library_state(library) == before
    assert program.run("index", library.folder).returncode == 0
    assert len(library_state(library)) == IMAGES + 1


def test_readers_give_up_if_the_other_program_blocks_them(library: Library, program: Program) -> None:
    library.index()
    database = library.settings.database
    with locked(database, "PRAGMA locking_mode = EXCLUSIVE"):
        for command in (["status"], ["search", "-e", "happy"], ["doctor"], ["label", "--list"], ["index", library.folder]):
            done = program.run(*command, lock_timeout_seconds=LOCK_TIMEOUT_SECONDS)
            assert error_sentence(done, 4) == busy_message(database), command
    assert program.run("doctor").returncode == 0


class LockingProgress(Remembered):
    """A progress that, after half of the files, locks the database from another connection."""

    def __init__(self, database: Path) -> None:
        super().__init__()
        self._database = database
        self.connection: sqlite3.Connection | None = None

    def advance(self, done: int, failed: int) -> None:
        super().advance(done, failed)
        if self.connection is None and self.done >= IMAGES // 2:
            self.connection = sqlite3.connect(self._database, isolation_level=None)
            self.connection.execute("BEGIN IMMEDIATE")


def test_a_run_that_meets_a_lock_ends_and_the_next_one_resumes(
    library: Library, expected_state: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.sqlite.engine.BUSY_TIMEOUT_SECONDS", LOCK_TIMEOUT_SECONDS)
    progress = LockingProgress(library.settings.database)
    with pytest.raises(WriterBusy, match="Another program holds a lock") as raised:
        ingest_service.index(library.opened, [bytes(library.folder)], IndexRequest(), progress)
    assert raised.value.exit_code == 4
    assert progress.connection is not None
    progress.connection.close()
    summary = library.index()
    assert counts(summary) == {"scanned": IMAGES, "unchanged": progress.done, "indexed": IMAGES - progress.done}
    assert library_state(library) == expected_state
