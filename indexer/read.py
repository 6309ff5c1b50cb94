"""A file's bytes, whole and unchanged, with the stamp they had."""

from __future__ import annotations

import os
import stat

from indexer.domain import FileStamp
from indexer.errors import Damaged, Unreadable

MAX_BYTES = 1 << 29
"""The largest file that is read, 512 MiB: several workers hold one in memory each."""


def read(path: bytes) -> tuple[bytes, FileStamp]:
    """The bytes of a regular file and its stamp.

    Raises FileNotFoundError where it is gone, Unreadable where it cannot be read or changed meanwhile (worth another try), and
    Damaged where it is no regular file or too large.
    """
    try:
        # NONBLOCK: a pipe that took the file's place since the scan must not hold the run up.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb", buffering=0) as file:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise Damaged("it is not a regular file")
            if before.st_size > MAX_BYTES:
                raise Damaged(f"its {before.st_size / 1e6:.0f} MB are more than the limit of {MAX_BYTES / 1e6:.0f} MB")
            data = file.read()
            after = os.fstat(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unreadable(f"it cannot be read: {error.strerror}") from error
    stamp = FileStamp(after.st_size, after.st_mtime_ns)
    if stamp != FileStamp(before.st_size, before.st_mtime_ns) or len(data) != stamp.size:
        raise Unreadable("it changed while it was read")
    return data, stamp
