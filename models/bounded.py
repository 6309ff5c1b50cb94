"""Files that somebody else may have put there, read whole if they are files and no larger than what they can be."""

from __future__ import annotations

import os
import stat
from pathlib import Path


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
