"""Opening the database file: connection settings, durability, and what a damaged file looks like."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import OperationalError

from db.sqlite.errors import translate_sqlite_errors
from db.sqlite.migrations import is_current, migrate
from db.sqlite.raw_connection import BUSY_TIMEOUT_SECONDS, immutable_uri, is_open_failure
from indexer.domain.errors import MoodexError


def open_engine(path: Path, reading: bool = False) -> Engine:
    """An engine over a database file, which is made, or brought up to date, as needed.

    WAL, so that readers never wait for the writer; synchronous FULL, so that what was committed survives a power cut. For
    `reading`, one that cannot be opened as usual, for its folder is read-only or its disk full, is read as it lies there.
    Raises StoreDamaged for a file that is no database, MoodexError where it cannot be opened or is too new.
    """
    with translate_sqlite_errors(path):
        try:
            return _made_ready(create_engine(_url(path), connect_args={"timeout": BUSY_TIMEOUT_SECONDS}))
        except OperationalError as error:
            name = (
                immutable_uri(path) if reading and isinstance(error.orig, sqlite3.Error) and is_open_failure(error.orig) else None
            )
            if name is None:
                raise
            return _still(path, name)


def _made_ready(engine: Engine) -> Engine:
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
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


def _url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))


def _still(path: Path, name: str) -> Engine:
    """An engine over a database that cannot change."""
    connect = partial(sqlite3.connect, name, uri=True, check_same_thread=False)
    engine = create_engine(_url(path), creator=connect)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    with engine.begin() as connection:
        if not is_current(connection):
            raise MoodexError(f"The database {path} is an older moodex's, and cannot be brought up to date where it lies.")
    return engine


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    # SQLAlchemy's transactions are begun by _begin; the driver must not begin its own.
    connection.isolation_level = None
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Any) -> None:
    kind = connection.get_execution_options().get("moodex_begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {kind}")
