"""Copies of the database file while it is in use, and putting another in its place."""

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

_OF_THE_TARGET = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
_COPY_CHUNK_PAGES = 2048
_BESIDE = ("-wal", "-shm")


def copy_database(source: Path, target: Path, advance: Callable[[int, int], None], check_stop: Callable[[], None]) -> None:
    """Write the database as it is at this moment to a new file, whoever writes to it meanwhile; the copy is checked.

    `advance` hears of pages: how many are copied, and how many there are. Raises StoreDamaged where the source is damaged,
    OSError where the copy cannot be written.
    """
    # The open transaction keeps the source as it is: without it, every commit of a writer would begin the copy anew.
    with translate_sqlite_errors(source), reading(source) as old, closing(sqlite3.connect(target)) as new:

        def watch(_status: int, remaining: int, total: int) -> None:
            check_stop()
            advance(total - remaining, total)

        try:
            old.backup(new, pages=_COPY_CHUNK_PAGES, progress=watch)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _OF_THE_TARGET:
                raise
            code = errno.ENOSPC if error.sqlite_errorcode == sqlite3.SQLITE_FULL else errno.EIO
            raise OSError(code, str(error)) from error
    try:
        require_intact(target)
    except StoreDamaged as error:
        raise StoreDamaged(f"The database {source} is damaged; see what can be saved: moodex doctor --repair") from error


def copy_aside(database: Path, aside: Path) -> None:
    """Keep a copy of a database under another name, whatever state it is in."""

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
    """Make a new database the one that is used, in one step, though others may have the old one open.

    Where the old one is sound, its content is replaced, in one transaction, which every reader sees the next time it looks; else
    the file is.
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
    """Put a new database file in the place of one that is damaged, with what SQLite keeps beside it."""
    with new.open("rb") as file:
        os.fsync(file.fileno())
    # Its log goes first: SQLite would take it for the new one's.
    for end in _BESIDE:
        database.with_name(database.name + end).unlink(missing_ok=True)
    new.replace(database)
    sync_folder(database.parent)


def remove_database(path: Path) -> None:
    """Delete a database file with what SQLite keeps beside it, where it is there."""
    for end in ("", *_BESIDE, "-journal"):
        path.with_name(path.name + end).unlink(missing_ok=True)
