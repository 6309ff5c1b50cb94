"""Connections without SQLAlchemy, for checks, copies and salvage, which read whole tables and must tolerate damage."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from indexer.domain.errors import StoreDamaged

UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
"""Errors of sqlite3 for a damaged file; UnicodeDecodeError if the message would quote bytes that are not UTF-8."""

BUSY_TIMEOUT_SECONDS = 30.0
"""Seconds for which SQLite waits for the lock of another program."""

_OPEN_FAILURE_CODES = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL)
FETCH_CHUNK_ROWS = 8192
_PROGRESS_OPCODES = 100_000
"""Instructions of SQLite between two stop checks: a few milliseconds."""


@contextmanager
def reading(path: Path, check_stop: Callable[[], None] | None = None) -> Iterator[sqlite3.Connection]:
    """Open a read-only connection in one transaction, which does not see later commits.

    Bytes that are not UTF-8 are replaced in texts. `check_stop` is called during long statements and may raise. Raises
    `UNREADABLE` for a damaged file.
    """
    connection = _opened(path)
    with closing(connection):
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        with _stopping(connection, check_stop):
            connection.execute("PRAGMA cache_size=-65536")
            _begin(connection)
            yield connection


def immutable_uri(path: Path) -> str | None:
    """Return a URI that opens a database without locks and without side files; None if it has a write-ahead log.

    For read-only folders and full disks, where a database cannot be opened otherwise. Without its log it would be incomplete.
    """
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        return None
    return f"file:{quote(str(path))}?mode=ro&immutable=1"


def is_open_failure(error: sqlite3.Error) -> bool:
    """Return whether a database could not be opened because of its folder or disk: read-only, or full."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _OPEN_FAILURE_CODES


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_SECONDS)
    try:
        _begin(connection)
        connection.rollback()
    except sqlite3.Error as error:
        if not is_open_failure(error) or (name := immutable_uri(path)) is None:
            return connection  # reading from it raises the error
        connection.close()
        return sqlite3.connect(name, uri=True, isolation_level=None)
    return connection


def _begin(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a connection in one transaction, committed at the end or rolled back by an error. References are not enforced."""
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
    """Yield the rows of a cursor, `FETCH_CHUNK_ROWS` at a time."""
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
    """Raise StoreDamaged for a database with damaged pages."""
    try:
        with reading(path) as connection:
            (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except UNREADABLE as error:
        result = str(error)
    if result != "ok":
        raise StoreDamaged(f"The database {path} is damaged ({result}); see what can be saved: moodex doctor --repair")


@contextmanager
def _stopping(connection: sqlite3.Connection, check_stop: Callable[[], None] | None) -> Iterator[None]:
    raised: list[BaseException] = []

    def is_stopping() -> bool:
        try:
            if check_stop is not None:
                check_stop()
        except BaseException as error:
            raised.append(error)
        return bool(raised)

    connection.set_progress_handler(is_stopping, _PROGRESS_OPCODES)
    try:
        yield
    except sqlite3.OperationalError:
        if raised:
            raise raised[0] from None
        raise
