"""The journal of the database: a write-ahead log, or a rollback journal where the file system has no shared memory.

A write-ahead log needs memory that all processes map from a file of the data folder. Some file systems in user space cannot map
files, and the machines of a network share do not see each other's maps. With a rollback journal, a reader and the writer wait for
each other, up to the time limit of a busy database.
"""

from __future__ import annotations

import mmap
import os
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

WRITE_AHEAD, ROLLBACK = "wal", "truncate"

_SHARED_MEMORY_CODES = (
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMLOCK,
    sqlite3.SQLITE_IOERR_SHMMAP,
)
_NETWORK_FILE_SYSTEMS = frozenset(
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "ncpfs",
        "afs",
        "9p",
        "ceph",
        "glusterfs",
        "fuse.sshfs",
        "fuse.glusterfs",
        "fuse.rclone",
        "fuse.s3fs",
        "davfs",
    ]
)
_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


def lacks_shared_memory(error: BaseException | None) -> bool:
    """Return whether an error of sqlite3 means that the file system cannot share memory between processes."""
    return getattr(error, "sqlite_errorcode", None) in _SHARED_MEMORY_CODES


def journal_for(folder: Path) -> str:
    """Return the kind of journal, `WRITE_AHEAD` or `ROLLBACK`, for a database that is created in a folder."""
    return WRITE_AHEAD if _can_share_memory(folder) and not _is_on_network(folder) else ROLLBACK


def replace_write_ahead_log(path: Path, timeout: float) -> None:
    """Give a database a rollback journal in place of a write-ahead log that cannot be opened without shared memory.

    Raises sqlite3.Error if the database is in use, or cannot be written to.
    """
    # With exclusive locking from the start, SQLite keeps the index of the log in the memory of this process.
    with closing(sqlite3.connect(path, isolation_level=None, timeout=timeout)) as connection:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute(f"PRAGMA journal_mode={ROLLBACK}")


def _can_share_memory(folder: Path) -> bool:
    """Return whether a file in a folder can be mapped. True if no file can be created: the database will say so."""
    try:
        descriptor, name = tempfile.mkstemp(dir=folder)
    except OSError:
        return True
    try:
        os.truncate(descriptor, mmap.PAGESIZE)
        mmap.mmap(descriptor, mmap.PAGESIZE).close()
    except (OSError, ValueError):
        return False
    finally:
        os.close(descriptor)
        os.unlink(name)
    return True


def _is_on_network(folder: Path) -> bool:
    """Return whether a folder is on a network share. Only Linux names the file systems; elsewhere False."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return False
    return file_system_of(os.path.realpath(folder), mounts) in _NETWORK_FILE_SYSTEMS


def file_system_of(path: str, mounts: str) -> str:
    """Return the type of the file system of an absolute path, from the text of /proc/self/mountinfo; "" if it is unknown."""
    best, found = "", ""
    for line in mounts.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5 or not after:
            continue
        point = fields[4]
        for escape, letter in _ESCAPES.items():
            point = point.replace(escape, letter)
        is_around = path == point or path.startswith(point.rstrip("/") + "/")
        if is_around and len(point) >= len(best):
            best, found = point, after.split(" ")[0]
    return found
