"""The database file without SQLAlchemy: for checks, copies and recoveries, which go through whole tables and must bear damage."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from indexer.domain.errors import StoreDamaged

UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What sqlite3 raises for a damaged file; the latter where it names, in its message, what is no text."""

BUSY_TIMEOUT_SECONDS = 30.0
"""Seconds for which SQLite waits for another program that holds a lock of its own."""

_OPEN_FAILURE_CODES = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL)
FETCH_CHUNK_ROWS = 8192
_PROGRESS_OPCODES = 100_000
"""SQLite's steps between two looks at whether to stop: some milliseconds."""


@contextmanager
def reading(path: Path, check_stop: Callable[[], None] | None = None) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write, in one transaction: it sees the database as it is now, whatever a writer does meanwhile.

    Text that is no UTF-8 is read with marks in its place. `check_stop` is asked during long statements, and may raise. Raises
    `UNREADABLE` where the file is damaged.
    """
    connection = _opened(path)
    with closing(connection):
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        with _stopping(connection, check_stop):
            connection.execute("PRAGMA cache_size=-65536")
            _begin(connection)
            yield connection


def immutable_uri(path: Path) -> str | None:
    """What SQLite opens a database by that nobody can be writing to, for it needs neither locks nor files beside it; None where
    there is a log, without which the database would not be whole.

    For folders that are read-only, or on a full disk, where it cannot be opened otherwise.
    """
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        return None
    return f"file:{quote(str(path))}?mode=ro&immutable=1"


def is_open_failure(error: sqlite3.Error) -> bool:
    """Whether a database could not be opened for what lies around it: a read-only folder, a full disk."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _OPEN_FAILURE_CODES


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_SECONDS)
    try:
        _begin(connection)
        connection.rollback()
    except sqlite3.Error as error:
        if not is_open_failure(error) or (name := immutable_uri(path)) is None:
            return connection  # and whoever reads hears of it
        connection.close()
        return sqlite3.connect(name, uri=True, isolation_level=None)
    return connection


def _begin(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection in one transaction that is true as a whole when this ends, or not at all. References are not enforced."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_SECONDS)
    with closing(connection):
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        for pragma in ("synchronous=FULL", "foreign_keys=OFF", "cache_size=-65536"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.rollback()
            raise
        connection.commit()


def fetch_chunks(cursor: sqlite3.Cursor) -> Iterator[list[tuple[object, ...]]]:
    """A cursor's rows, some thousands at a time."""
    while rows := cursor.fetchmany(FETCH_CHUNK_ROWS):
        yield rows


def columns_by_table(connection: sqlite3.Connection) -> dict[str, set[str]]:
    """Return the names of the columns of every table."""
    columns: dict[str, set[str]] = {}
    for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        rows = connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
        columns[str(table)] = {str(name) for (name,) in rows}
    return columns


def require_intact(path: Path) -> None:
    """Raise StoreDamaged for a database whose pages are not what they should be."""
    try:
        with reading(path) as connection:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except UNREADABLE as error:
        said = str(error)
    if said != "ok":
        raise StoreDamaged(f"The database {path} is damaged ({said}); see what can be saved: moodex doctor --repair")


@contextmanager
def _stopping(connection: sqlite3.Connection, check_stop: Callable[[], None] | None) -> Iterator[None]:
    raised: list[BaseException] = []

    def look() -> bool:
        try:
            if check_stop is not None:
                check_stop()
        except BaseException as error:
            raised.append(error)
        return bool(raised)

    connection.set_progress_handler(look, _PROGRESS_OPCODES)
    try:
        yield
    except sqlite3.OperationalError:
        if raised:
            raise raised[0] from None
        raise
