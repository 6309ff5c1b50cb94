"""Copy, replace and remove database files, also while they are in use."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from db.sqlite.errors import translate_sqlite_errors
from db.sqlite.raw_connection import UNREADABLE, reading, require_intact
from indexer.domain.errors import StoreDamaged
from indexer.system.atomic import replace_file, sync_folder

_TARGET_ERROR_CODES = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
_COPY_CHUNK_PAGES = 2048
_SIDE_FILE_SUFFIXES = ("-wal", "-shm")


def copy_database(source: Path, target: Path, advance: Callable[[int, int], None], check_stop: Callable[[], None]) -> None:
    """Copy a database in its present state to a new file, also while a writer commits, and check the copy.

    `advance` receives the number of pages copied and of all pages. Raises StoreDamaged for a damaged source, OSError if the copy
    cannot be written.
    """
    target.touch()  # SQLite would not say why it cannot create a file
    # Without the open transaction, every commit of a writer would restart the copy.
    with translate_sqlite_errors(source), reading(source) as old, closing(sqlite3.connect(target)) as new:

        def report(_status: int, remaining: int, total: int) -> None:
            check_stop()
            advance(total - remaining, total)

        try:
            old.backup(new, pages=_COPY_CHUNK_PAGES, progress=report)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _TARGET_ERROR_CODES:
                raise
            code = errno.ENOSPC if error.sqlite_errorcode == sqlite3.SQLITE_FULL else errno.EIO
            raise OSError(code, str(error)) from error
    try:
        require_intact(target)
    except StoreDamaged as error:
        raise StoreDamaged(f"The database {source} is damaged; see what can be saved: moodex doctor --repair") from error


def copy_aside(database: Path, aside: Path) -> None:
    """Copy a database, damaged or not, to another name."""

    def write(temporary: Path) -> None:
        try:
            with reading(database) as old, closing(sqlite3.connect(temporary)) as new:
                old.backup(new)
        except UNREADABLE:
            shutil.copyfile(database, temporary)
            log = database.with_name(database.name + "-wal")
            if log.exists():
                shutil.copyfile(log, aside.with_name(aside.name + "-wal"))

    replace_file(aside, write)


def replace_live_database(new: Path, database: Path) -> None:
    """Replace the database in use by a new one, in one step, although others may have the old one open.

    The content of an intact database is replaced in one transaction, which readers see with their next query. A damaged database
    is replaced as a file.
    """
    try:
        require_intact(database)
    except StoreDamaged:
        replace_database(new, database)
        return
    with closing(sqlite3.connect(new)) as source, closing(sqlite3.connect(database, timeout=30)) as target:
        target.execute("PRAGMA synchronous=FULL")
        source.backup(target)


def replace_database(new: Path, database: Path) -> None:
    """Replace a damaged database file, with its side files, by a new one."""
    with new.open("rb") as file:
        os.fsync(file.fileno())
    # The log is deleted first: SQLite would apply it to the new database.
    for end in _SIDE_FILE_SUFFIXES:
        database.with_name(database.name + end).unlink(missing_ok=True)
    new.replace(database)
    sync_folder(database.parent)


def remove_database(path: Path) -> None:
    """Delete a database file and its side files, if there are any."""
    for end in ("", *_SIDE_FILE_SUFFIXES, "-journal"):
        path.with_name(path.name + end).unlink(missing_ok=True)
