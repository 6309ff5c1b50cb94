"""Open the database file: connection settings, durability, migrations."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import OperationalError

from db.sql.transactions import WRITING, connect_for_writing
from db.sqlite.errors import translate_sqlite_errors
from db.sqlite.journal import WRITE_AHEAD, journal_for, lacks_shared_memory, replace_write_ahead_log
from db.sqlite.migrations import is_current, migrate
from db.sqlite.raw_connection import BUSY_TIMEOUT_SECONDS, immutable_uri, is_open_failure
from indexer.domain.errors import MoodexError


def open_engine(path: Path, reading: bool = False) -> Engine:
    """Return an engine for a database file, which is created or migrated as needed.

    WAL keeps readers from waiting for the writer; synchronous FULL makes commits survive a power cut. Where the file system has
    no shared memory, the database gets a rollback journal, see `db.sqlite.journal`. If `reading`, a database that cannot be
    opened otherwise, because its folder is read-only or its disk full, is opened without locks and not migrated.
    Raises StoreDamaged for a file that is not a database, MoodexError if it cannot be opened or is too new.
    """
    with translate_sqlite_errors(path):
        try:
            return _opened(path)
        except OperationalError as error:
            name = (
                immutable_uri(path) if reading and isinstance(error.orig, sqlite3.Error) and is_open_failure(error.orig) else None
            )
            if name is None:
                raise
            return _immutable(path, name)


def _opened(path: Path) -> Engine:
    try:
        return _prepared(path)
    except OperationalError as error:
        if not lacks_shared_memory(error.orig):
            raise
        try:
            replace_write_ahead_log(path, BUSY_TIMEOUT_SECONDS)
        except sqlite3.Error:  # a full disk has no room for shared memory either
            raise error from None
        return _prepared(path)


def _prepared(path: Path) -> Engine:
    engine = create_engine(_url(path), connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    with engine.begin() as connection:
        current = is_current(connection)
    # Not before the check, because it changes the file, and another program's file must stay as it is.
    with closing(engine.raw_connection()) as raw:
        # Every row is fetched: an unfinished statement would lock the tables of a migration.
        if raw.cursor().execute("PRAGMA journal_mode").fetchall() != [(WRITE_AHEAD,)]:
            raw.cursor().execute(f"PRAGMA journal_mode={journal_for(path.parent)}").fetchall()
    if not current:
        # Two processes that migrate at the same time apply each step once.
        with connect_for_writing(engine) as connection:
            migrate(connection)
    return engine


def _url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))


def _immutable(path: Path, name: str) -> Engine:
    """Return an engine for a database that nobody can change."""
    connect = partial(sqlite3.connect, name, uri=True, check_same_thread=False)
    engine = create_engine(_url(path), creator=connect)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    with engine.begin() as connection:
        if not is_current(connection):
            raise MoodexError(f"The database {path} was written by an older moodex and cannot be updated: it is read-only.")
    return engine


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    # _begin begins transactions; the driver must not begin its own.
    connection.isolation_level = None
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Any) -> None:
    if connection.connection.driver_connection.in_transaction:  # which `db.sql.prepared` has begun
        return
    is_writing = connection.get_execution_options().get(WRITING, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN DEFERRED")
