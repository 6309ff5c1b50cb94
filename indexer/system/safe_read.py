"""Reading of complete files, with the stamp that belongs to the bytes."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from indexer.domain.errors import Damaged, Unreadable
from indexer.domain.files import FileStamp, stamp_of

MAX_FILE_BYTES = 1 << 29
"""Limit of file size, 512 MiB: every worker holds one file in memory."""


def read(path: bytes) -> tuple[bytes, FileStamp]:
    """Read the bytes of a regular file and its stamp.

    Raises FileNotFoundError if it is missing, Unreadable (worth a retry) if it cannot be read or changed while it was read, and
    Damaged if it is too large or not a regular file.
    """
    try:
        with open(path, "rb", opener=open_without_waiting) as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise Damaged("it is not a regular file")
            if before.st_size > MAX_FILE_BYTES:
                raise Damaged(f"its size of {before.st_size / 1e6:.0f} MB exceeds the limit of {MAX_FILE_BYTES / 1e6:.0f} MB")
            data = file.read(before.st_size + 1)  # bounded, because another process may be appending to it
            after = os.fstat(file.fileno())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unreadable(f"it cannot be read: {error.strerror}") from error
    stamp = stamp_of(after)
    if stamp != stamp_of(before) or len(data) != stamp.size:
        raise Unreadable("it changed while it was read")
    return data, stamp


def open_regular(path: bytes) -> tuple[BinaryIO, os.stat_result]:
    """Open a regular file, and return its status, too. The caller closes it.

    Raises FileNotFoundError if it is missing, Unreadable if it cannot be opened, and Damaged if it is not a regular file.
    """
    try:
        file = open(path, "rb", opener=open_without_waiting)  # noqa: SIM115  # the caller closes it
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unreadable(f"it cannot be read: {error.strerror}") from error
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode):
        return file, status
    file.close()
    raise Damaged("it is not a regular file")


def read_stamp(path: bytes) -> FileStamp:
    """Return the stamp of a file. Raises FileNotFoundError if it is missing, Unreadable if its status cannot be read."""
    try:
        return stamp_of(os.stat(path))
    except NotADirectoryError as error:
        raise FileNotFoundError(path) from error
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise Unreadable(f"its status cannot be read: {error}") from error


def open_without_waiting(path: str | bytes, _flags: int) -> int:
    """Open a file without waiting, even if a pipe has replaced it since the scan."""
    return os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Read a regular file of at most `max_bytes` bytes.

    Raises OSError if it cannot be read, ValueError if it is larger or not a regular file.
    """
    # NONBLOCK: opening a pipe would wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        if status.st_size > max_bytes:
            raise ValueError(f"its size of {status.st_size / 1e6:,.1f} MB exceeds the limit of {max_bytes / 1e6:,.1f} MB")
        return file.read(max_bytes)
