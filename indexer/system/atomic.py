"""Replacing a file so that a reader, or a crash at any moment, meets the old one or the new one and nothing in between."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make the new content under a temporary name in the same folder; then make it durable, then visible."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # a write that fails does not say where
        raise
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_file(path: Path, data: bytes) -> None:
    """Replace a file by these bytes."""
    replace_file(path, lambda temporary: temporary.write_bytes(data))


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
