"""Atomic replacement of files: after a crash at any moment, readers find either the old or the new file."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Replace a file: `write` creates it under a temporary name in the same folder; then it is synced and renamed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # the error of a failed write does not contain the path
        raise
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_file(path: Path, data: bytes) -> None:
    """Replace a file with one that contains `data`."""
    replace_file(path, lambda temporary: temporary.write_bytes(data))


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable; does nothing on systems other than POSIX."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unique_backup_name(path: Path, reason: str) -> Path:
    """Return an unused path next to a file: its name, the reason for the copy, and the time."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    suffixes = ["", *(f"-{number}" for number in range(2, 1000))]
    names = (path.with_name(f"{path.name}.{reason}-{stamp}{suffix}") for suffix in suffixes)
    return next(name for name in names if not name.exists())
