"""The SQLite store: reader, writer and scheduled jobs in one object."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from db.sql.jobs import SqlJobs
from db.sql.reader import SqlReader
from db.sql.tuning import DEFAULT_TUNING, StoreTuning
from db.sql.writer import SqlWriter
from db.sqlite.engine import open_engine

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


class SqliteStore(SqlWriter, SqlReader, SqlJobs):
    """Implements `indexer.ports.store.Store` over one SQLite file."""

    def __init__(self, path: Path, reading: bool = False, tuning: StoreTuning | None = None) -> None:
        """Open, create or migrate a database file. `reading` and errors are those of `open_engine`."""
        self.path = path
        self._engine: Engine = open_engine(path, reading)
        SqlWriter.__init__(self, self._engine, tuning or DEFAULT_TUNING)
        SqlReader.__init__(self, self._engine)
        SqlJobs.__init__(self, self._engine)
        self._kept: Connection | None = None

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the file."""
        if self._kept is not None:
            self._kept.close()
        self._engine.dispose()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read like `SqlHitReader.snapshot`, by a connection that is kept: opening and closing one takes as long as a search."""
        if self._kept is None:
            self._kept = self._engine.connect()
        self._snapshot = self._kept
        try:
            yield
        finally:
            self._snapshot = None
            self._kept.rollback()
            self._kept.connection.rollback()  # of a transaction that a prepared statement has begun
