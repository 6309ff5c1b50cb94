"""SQLite's errors as errors of moodex, with one sentence each."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sqlalchemy.exc import DatabaseError

from db.schema import METADATA
from db.sql.unpacking import unpacking
from db.sqlite.journal import lacks_shared_memory
from db.sqlite.raw_connection import BUSY_TIMEOUT_SECONDS, UNREADABLE, columns_by_table, reading
from indexer.domain.errors import MAKE_ROOM, MoodexError, StoreDamaged, WriterBusy

_DAMAGE_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_CONSTRAINT)
"""Primary result codes that mean damage.

SQLITE_CONSTRAINT does, because moodex writes nothing that breaks a constraint of an intact file.
"""

_SIDE_FILES_BYTES = 1 << 17
"""Free space that SQLite needs for the side files of a database."""


def reading_rows(connection: sqlite3.Connection) -> AbstractContextManager[None]:
    """Return `unpacking` for the database file of a connection without SQLAlchemy."""
    return unpacking(str(connection.execute("PRAGMA database_list").fetchone()[2]))


@contextmanager
def translate_sqlite_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about a database file into StoreDamaged, WriterBusy or another MoodexError."""
    try:
        yield
    except (DatabaseError, sqlite3.DatabaseError) as error:
        raised = error.orig if isinstance(error, DatabaseError) else error
        if _means_damage(path, raised):
            raise StoreDamaged(
                f"The database {path} is damaged or is not a moodex database ({raised}). Nothing was changed; see what can be "
                "saved: moodex doctor --repair"
            ) from error
        if isinstance(raised, sqlite3.OperationalError):
            raise _explained(path, raised) from error
        raise


def _means_damage(path: Path, error: BaseException | None) -> bool:
    """Return whether an error of sqlite3 means that the database file is damaged."""
    code = _primary_code(error)
    if code is None:
        # The driver's own error, without a code of SQLite: it raises an OperationalError for text that is not UTF-8.
        return isinstance(error, sqlite3.OperationalError)
    # SQLite has no separate code for a missing table or column, or a schema of an unknown format.
    return code in _DAMAGE_CODES or (code == sqlite3.SQLITE_ERROR and not _has_schema(path))


def _primary_code(error: BaseException | None) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF


def _has_schema(path: Path) -> bool:
    """Return whether a database has every table and column of the schema."""
    try:
        with reading(path) as connection:
            columns = columns_by_table(connection)
    except UNREADABLE as error:
        return _primary_code(error) not in (None, sqlite3.SQLITE_ERROR, *_DAMAGE_CODES)
    return all(columns.get(table.name, set()) >= set(table.columns.keys()) for table in METADATA.tables.values())


def _explained(path: Path, error: sqlite3.OperationalError) -> MoodexError:
    code = _primary_code(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return WriterBusy(
            f"Another program holds a lock on the database {path}, and moodex waited {BUSY_TIMEOUT_SECONDS:.0f} s for it. "
            "Close that program, then run the same command again."
        )
    sentence = f"The database {path} cannot be used: {error}."
    if path.is_dir():
        sentence = f"The database {path} is a folder. Move it away, or choose another --home."
    elif code == sqlite3.SQLITE_READONLY:
        sentence = f"The database {path} cannot be written to: it, or its folder, is read-only."
    elif code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_disk_full(path)):
        sentence = f"The database {path} cannot be written to: its disk is full. {MAKE_ROOM}"
    elif lacks_shared_memory(error):
        sentence = (
            f"The database {path} cannot be used: its file system lacks shared memory, and another process uses the database, or "
            "it cannot be written to. Close that process, or choose a --home on a local disk."
        )
    elif code == sqlite3.SQLITE_IOERR:
        sentence += " See whether its disk is over quota, or failing."
    elif code == sqlite3.SQLITE_CANTOPEN and path.exists():
        sentence = _not_openable(path)
    return MoodexError(sentence)


def _not_openable(path: Path) -> str:
    if not os.access(path, os.R_OK):
        return f"Cannot open the database {path}: permission denied. Change the permissions of the file."
    return (
        f"Cannot open the database {path}: a program that used it was killed, and its folder cannot be written to. Run moodex "
        "status once where it can."
    )


def _is_disk_full(path: Path) -> bool:
    """Return whether the disk has no room for the side files of a database, which SQLite does not report."""
    return shutil.disk_usage(path.parent).free < _SIDE_FILES_BYTES
