"""Readers that stay open: they see every commit, are shared by threads, and notice a file that was replaced."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from db.sqlite.database import SqliteDatabase
from db.sqlite.pooled_database import PooledSqliteDatabase
from indexer.domain.errors import NotIndexed, ReadersBusy, StoreDamaged
from tests.support.builders import image
from tests.support.scene import Scene


@pytest.fixture
def database(tmp_path: Path) -> PooledSqliteDatabase:
    with SqliteDatabase(tmp_path / "moodex.sqlite", tmp_path / "vectors").open() as store:
        Scene(store).add("one", b"/a/1.png")
    return PooledSqliteDatabase(tmp_path / "moodex.sqlite", tmp_path / "vectors", readers=3)


def test_a_reader_is_used_again_and_sees_what_was_committed(database: PooledSqliteDatabase) -> None:
    with database.open(reading=True) as first:
        assert first.counts().images == 1
    with database.open() as writer:
        scene = Scene(writer)
        scene.add("two", b"/a/2.png", seed=1)
    with database.open(reading=True) as second:
        assert second is first
        assert second.counts().images == 2
    database.close()


def test_readers_at_the_same_time_are_different_ones(database: PooledSqliteDatabase) -> None:
    with database.open(reading=True) as first, database.open(reading=True) as second:
        assert first is not second
        with first.snapshot():
            assert first.counts().images == second.counts().images == 1
    database.close()


def test_a_snapshot_does_not_outlive_its_use(database: PooledSqliteDatabase) -> None:
    with database.open(reading=True) as reader, reader.snapshot():
        assert reader.counts().images == 1
    with database.open() as writer:
        Scene(writer).add("two", b"/a/2.png", seed=1)
    with database.open(reading=True) as reader, reader.snapshot():
        assert reader.counts().images == 2
    database.close()


def test_a_replaced_file_is_opened_again(database: PooledSqliteDatabase, tmp_path: Path) -> None:
    with database.open(reading=True) as first:
        assert first.counts().images == 1
    with SqliteDatabase(tmp_path / "other.sqlite", tmp_path / "vectors").open() as store:
        scene = Scene(store)
        for number in range(3):
            scene.add(f"n{number}", b"/a/%d.png" % number, seed=number)
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"other.sqlite{suffix}").unlink(missing_ok=True)
    (tmp_path / "other.sqlite").replace(tmp_path / "moodex.sqlite")
    with database.open(reading=True) as second:
        assert second is not first
        assert second.counts().images == 3
    database.close()


def test_a_refused_request_keeps_its_reader(database: PooledSqliteDatabase) -> None:
    with pytest.raises(NotIndexed), database.open(reading=True) as first:
        first.ranked(99, None, 1, 0)  # type: ignore[arg-type]  # the model is looked up first
    with database.open(reading=True) as second:
        assert second is first
    database.close()


def test_a_damaged_file_is_reported_and_left(database: PooledSqliteDatabase, tmp_path: Path) -> None:
    shutil.copyfile(__file__, tmp_path / "text.sqlite")
    (tmp_path / "text.sqlite").replace(tmp_path / "moodex.sqlite")
    with pytest.raises(StoreDamaged), database.open(reading=True):
        pass
    database.close()


def test_many_threads_read_while_one_writes(database: PooledSqliteDatabase) -> None:
    errors: list[BaseException] = []
    ended = threading.Event()

    def read() -> None:
        try:
            seen = 0
            while not ended.is_set():
                with database.open(reading=True) as reader, reader.snapshot():
                    images = reader.counts().images
                    assert images == len(reader.known_digests([image(f"n{number}").digest for number in range(40)])) + 1
                assert images >= seen
                seen = images
        except BaseException as error:
            errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(8)]
    for thread in readers:
        thread.start()
    try:
        with database.open() as writer:
            scene = Scene(writer)
            for number in range(40):
                scene.add(f"n{number}", b"/a/n%d.png" % number, seed=number)
    finally:
        ended.set()
        for thread in readers:
            thread.join()
    assert not errors
    with database.open(reading=True) as reader:
        assert reader.counts().images == 41
    database.close()


def test_a_request_waits_for_a_reader_only_so_long(database: PooledSqliteDatabase, tmp_path: Path) -> None:
    small = PooledSqliteDatabase(tmp_path / "moodex.sqlite", tmp_path / "vectors", readers=1, patience_seconds=0)
    with small.open(reading=True), pytest.raises(ReadersBusy), small.open(reading=True):
        pass
    with small.open(reading=True) as reader:
        assert reader.counts().images == 1
    small.close()
    database.close()


def test_the_version_differs_after_a_commit(database: PooledSqliteDatabase) -> None:
    with database.open() as writer:
        before = database.version()
        assert database.version() == before
        Scene(writer).add("two", b"/a/2.png", seed=1)
        assert database.version() != before
    database.close()
