"""SQLite's errors as sentences of moodex."""

from __future__ import annotations

import shutil
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb

from sqlalchemy.exc import DatabaseError

from db.sqlite.raw_connection import BUSY_TIMEOUT_SECONDS
from indexer.domain.errors import MAKE_ROOM, MoodexError, StoreDamaged, WriterBusy

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)


_SIGNS = ("no such table", "no such column", "Could not decode", "unsupported file format", "constraint failed", "has no column")
"""What SQLite says, under codes that mean many things, of a file whose schema or text is not what was written."""


_BESIDE = 1 << 17


_UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, struct.error)


@contextmanager
def translate_sqlite_errors(path: Path) -> Iterator[None]:
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
            raise _plain(path, raised, code) from error
        raise
    except _UNREADABLE as error:
        if not _raised_while_reading_rows(error):
            raise
        raise StoreDamaged(
            f"The database {path} holds values that moodex never writes ({error}); see what can be saved: moodex doctor --repair"
        ) from error


def _plain(path: Path, error: sqlite3.OperationalError, code: int) -> MoodexError:
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return WriterBusy(
                f"Another program holds a lock on the database {path}, and moodex waited {BUSY_TIMEOUT_SECONDS:.0f} s for it. "
                "Close that program, then run the same command again."
            )
        case sqlite3.SQLITE_READONLY:
            return MoodexError(f"The database {path} cannot be written to: it, or its folder, is read-only.")
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR if code == sqlite3.SQLITE_FULL or _is_full(path):
            return MoodexError(f"The database {path} cannot be written to: its disk is full. {MAKE_ROOM}")
        case sqlite3.SQLITE_IOERR:
            return MoodexError(f"The database {path} cannot be used: {error}. See whether its disk is over quota, or failing.")
        case sqlite3.SQLITE_CANTOPEN if path.exists():
            return MoodexError(
                f"The database {path} cannot be opened where nothing can be written beside it, for a program that used it was "
                "killed; run moodex status once where it can be written to."
            )
    return MoodexError(f"The database {path} cannot be used: {error}.")


def _is_full(path: Path) -> bool:
    """Whether the disk has no room for what SQLite keeps beside a database, which it does not say."""
    return shutil.disk_usage(path.parent).free < _BESIDE


def _raised_while_reading_rows(error: BaseException) -> bool:
    """Whether an error arose where rows are read: in `db`, or in what `db` called with a row's values."""
    _own, *frames = (frame for frame, _ in walk_tb(error.__traceback__))
    return any(str(frame.f_globals.get("__name__")).startswith("db.") for frame in frames)
