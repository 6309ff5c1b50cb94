"""A file's bytes, whole and unchanged, with the stamp they had."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from indexer.domain.errors import Damaged, Unreadable
from indexer.domain.files import FileStamp, changed_ns

MAX_FILE_BYTES = 1 << 29
"""The largest file that is read, 512 MiB: several workers hold one in memory each."""


def read(path: bytes) -> tuple[bytes, FileStamp]:
    """The bytes of a regular file and its stamp.

    Raises FileNotFoundError where it is gone, Unreadable where it cannot be read or changed meanwhile (worth another try), and
    Damaged where it is no regular file or too large.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise Damaged("it is not a regular file")
            if before.st_size > MAX_FILE_BYTES:
                raise Damaged(f"its {before.st_size / 1e6:.0f} MB are more than the limit of {MAX_FILE_BYTES / 1e6:.0f} MB")
            data = file.read(before.st_size + 1)  # whoever writes to it meanwhile must not keep this going
            after = os.fstat(file.fileno())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unreadable(f"it cannot be read: {error.strerror}") from error
    stamp = FileStamp(after.st_size, changed_ns(after))
    if stamp != FileStamp(before.st_size, changed_ns(before)) or len(data) != stamp.size:
        raise Unreadable("it changed while it was read")
    return data, stamp


def _without_waiting(path: str | bytes, _flags: int) -> int:
    """Open a file; a pipe that took its place since the scan does not hold the run up."""
    return os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))


def read_bounded(path: Path, most: int) -> bytes:
    """The bytes of a regular file of at most so many. Raises OSError, FileNotFoundError among them, and ValueError for others."""
    # NONBLOCK: to open a pipe would wait for whoever writes to it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb", buffering=0) as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise ValueError("it is not a regular file")
        if facts.st_size > most:
            raise ValueError(f"its {facts.st_size / 1e6:,.1f} MB are more than the limit of {most / 1e6:,.1f} MB")
        return file.read(most)
