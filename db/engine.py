"""Opening the database file: connection settings, durability, and what a damaged file looks like."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DatabaseError

from db.migrations import is_current, migrate
from indexer.errors import MoodexError, StoreDamaged

BUSY_TIMEOUT_MS = 30_000
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)
_SIGNS = ("no such table", "no such column", "Could not decode", "unsupported file format", "constraint failed", "has no column")
"""What SQLite says, under codes that mean many things, of a file whose schema or text is not what was written."""

_UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, struct.error)


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
    """Turn SQLite's errors about the database file, and values in it that this program never writes, into one sentence each."""
    try:
        yield
    except (DatabaseError, sqlite3.DatabaseError) as error:
        raised = error.orig if isinstance(error, DatabaseError) else error
        code = getattr(raised, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGED or any(sign in str(raised) for sign in _SIGNS):
            raise StoreDamaged(
                f"The database {path} is damaged or is no moodex database ({raised}). Nothing was changed; see what can be "
                "saved: moodex doctor --repair"
            ) from error
        if isinstance(raised, sqlite3.OperationalError):
            raise MoodexError(f"The database {path} cannot be used: {raised}.") from error
        raise
    except _UNREADABLE as error:
        if not _of_stored_values(error):
            raise
        raise StoreDamaged(
            f"The database {path} holds values that moodex never writes ({error}); see what can be saved: moodex doctor --repair"
        ) from error


def _of_stored_values(error: BaseException) -> bool:
    """Whether an error arose where rows are read: in `db`, or in what `db` called with a row's values."""
    _own, *frames = (frame for frame, _ in walk_tb(error.__traceback__))
    return any(str(frame.f_globals.get("__name__")).startswith("db.") for frame in frames)


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    # SQLAlchemy's transactions are begun by _begin; the driver must not begin its own.
    connection.isolation_level = None
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Any) -> None:
    kind = connection.get_execution_options().get("moodex_begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {kind}")
