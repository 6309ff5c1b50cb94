"""Opening the database file: connection settings, durability, and what a damaged file looks like."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError

from db.migrations import is_current, migrate
from indexer.errors import MoodexError, StoreDamaged

BUSY_TIMEOUT_MS = 30_000
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def open_engine(path: Path) -> Engine:
    """An engine over a database file, which is made, or brought up to date, as needed.

    WAL, so that readers never wait for the writer; synchronous FULL, so that what was committed survives a power cut.
    Raises StoreDamaged for a file that is no database, MoodexError where it cannot be opened or is too new.
    """
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    with plain_errors(path):
        with engine.begin() as connection:
            current = is_current(connection)
        # Only now, since it changes the file, and another program's file is left as it is.
        with closing(engine.raw_connection()) as raw:
            raw.cursor().execute("PRAGMA journal_mode=WAL")
        if not current:
            # IMMEDIATE, so that two processes that meet here apply each step once.
            with engine.connect().execution_options(moodex_begin="IMMEDIATE") as connection, connection.begin():
                migrate(connection)
    return engine


@contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about the database file into one sentence each."""
    try:
        yield
    except DatabaseError as error:
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGED:
            raise StoreDamaged(
                f"The database {path} is damaged or is no moodex database ({error.orig}). Nothing was changed; restore a copy, "
                "or move it away and index again."
            ) from error
        if isinstance(error, OperationalError):
            raise MoodexError(f"The database {path} cannot be used: {error.orig}.") from error
        raise


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    # SQLAlchemy's transactions are begun by _begin; the driver must not begin its own.
    connection.isolation_level = None
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Any) -> None:
    kind = connection.get_execution_options().get("moodex_begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {kind}")
