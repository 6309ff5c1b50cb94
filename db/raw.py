"""The database file without SQLAlchemy: for checks, copies and recoveries, which go through whole tables and must bear damage."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from indexer.errors import StoreDamaged

UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What sqlite3 raises for a damaged file; the latter where it names, in its message, what is no text."""

AT_ONCE = 8192
_STEPS = 100_000
"""SQLite's steps between two looks at whether to stop: some milliseconds."""


@contextmanager
def reading(path: Path, check_stop: Callable[[], None] | None = None) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write, in one transaction: it sees the database as it is now, whatever a writer does meanwhile.

    Text that is no UTF-8 is read with marks in its place. `check_stop` is asked during long statements, and may raise. Raises
    `UNREADABLE` where the file is damaged.
    """
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, timeout=30)
    with closing(connection):
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        with _stopping(connection, check_stop):
            connection.execute("PRAGMA cache_size=-65536")
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            yield connection


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection in one transaction that is true as a whole when this ends, or not at all. References are not enforced."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
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


def portions(cursor: sqlite3.Cursor) -> Iterator[list[tuple[object, ...]]]:
    """A cursor's rows, some thousands at a time."""
    while rows := cursor.fetchmany(AT_ONCE):
        yield rows


def sound_or_raise(path: Path) -> None:
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

    connection.set_progress_handler(look, _STEPS)
    try:
        yield
    except sqlite3.OperationalError:
        if raised:
            raise raised[0] from None
        raise
