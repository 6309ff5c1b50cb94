"""A SQLite database for a server: its readers stay open between uses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from db.sqlite.database import SqliteDatabase
from indexer.domain.errors import MoodexError, ReadersBusy, StoreDamaged

if TYPE_CHECKING:
    from db.sqlite.store import SqliteStore

_MAX_READERS = 8
"""Readers at a time: each keeps up to 64 MB of pages in memory."""

_PATIENCE_SECONDS = 30.0


class _Reader(NamedTuple):
    store: SqliteStore
    file: tuple[int, int]


class PooledSqliteDatabase(SqliteDatabase):
    """A database whose readers are used again: opening one takes longer than most searches.

    Each reader is for one thread at a time, and reads what is committed when it is used. `moodex restore` and repairs replace the
    file; readers of the old one are closed then.
    """

    def __init__(
        self, path: Path, vectors: Path, readers: int = _MAX_READERS, patience_seconds: float = _PATIENCE_SECONDS
    ) -> None:
        """`path` and `vectors` are those of `SqliteDatabase`.

        At most `readers` are open at a time. `open` raises ReadersBusy if none is free for some seconds.
        """
        self._patience_seconds = patience_seconds
        super().__init__(path, vectors)
        self._free = threading.BoundedSemaphore(readers)
        self._idle: list[_Reader] = []
        self._closed = False

    @contextmanager
    def open(self, reading: bool = False) -> Iterator[SqliteStore]:
        if not reading:
            with super().open() as store:
                yield store
            return
        if not self._free.acquire(timeout=self._patience_seconds):
            raise ReadersBusy("Too many requests read the library at the moment; try again.")
        try:
            with self._reader() as store:
                yield store
        finally:
            self._free.release()

    def close(self) -> None:
        """Close the idle readers, and every other one after its use."""
        self._closed = True
        while (reader := self._take_idle()) is not None:
            reader.store.close()

    @contextmanager
    def _reader(self) -> Iterator[SqliteStore]:
        from db.sqlite.errors import translate_sqlite_errors

        reader = self._take()
        try:
            with translate_sqlite_errors(self._path):
                yield reader.store
        except MoodexError as error:
            self._put_back(reader, is_sound=not isinstance(error, StoreDamaged))
            raise
        except BaseException:
            self._put_back(reader, is_sound=False)
            raise
        self._put_back(reader, is_sound=True)

    def _take(self) -> _Reader:
        from db.sqlite.store import SqliteStore

        file = self._identity()
        while (reader := self._take_idle()) is not None:
            if reader.file == file:
                return reader
            reader.store.close()
        self._refuse_emptied()
        return _Reader(SqliteStore(self._path, reading=True), self._identity() or (0, 0))

    def _take_idle(self) -> _Reader | None:
        """Return an idle reader, which then belongs to the caller; None if other threads took them all."""
        with suppress(IndexError):
            return self._idle.pop()
        return None

    def _put_back(self, reader: _Reader, is_sound: bool) -> None:
        if is_sound and not self._closed:
            self._idle.append(reader)
        else:
            reader.store.close()

    def _identity(self) -> tuple[int, int] | None:
        """Return what tells the database file from one that replaced it; None if it is missing."""
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino
