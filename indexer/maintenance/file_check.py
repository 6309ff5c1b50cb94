"""Checks outside the database: changed image files, and temporary files of killed processes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from indexer.domain.errors import ImageError
from indexer.domain.files import FileStamp, IndexedFile

if TYPE_CHECKING:
    from indexer.ports.sources import ImageSource
    from indexer.ports.store_reader import StoreReader

_FILE_CHUNK_ROWS = 2000
_HASH_CHUNK_BYTES = 1 << 20
_TEMPORARY_NAME = re.compile(r"\..+\.(\d+)\.tmp(\.work|\.work\.fresh)?(-wal|-shm|-journal)?")
"""Names that `atomic.replace_file` gives to unfinished files, and those of SQLite's side files."""


def digest_of(source: ImageSource, path: bytes, stamp: FileStamp) -> bytes | None:
    """Return the digest of a file's bytes; None if it cannot be read or has another stamp."""
    hasher = blake3()
    try:
        with source.open(path).file as file:
            while chunk := file.read(_HASH_CHUNK_BYTES):
                hasher.update(chunk)
        is_same = source.stamp(path).matches(stamp)
    except (OSError, ImageError):
        return None
    return hasher.digest() if is_same else None


def find_changed_files(
    store: StoreReader, source: ImageSource, deep: bool, workers: int, advance: Callable[[int], None]
) -> Iterator[tuple[str, IndexedFile]]:
    """Yield the files that differ from their rows, each with its kind of finding.

    Compares stamps; if `deep`, also the digest of every file. Skips files whose rows changed during the check. The files are read
    in chunks, each in its own transaction: the check may take hours, and SQLite's write-ahead log grows as long as a transaction
    reads.
    """
    with ThreadPoolExecutor(workers) as pool:
        after = 0
        while chunk := store.indexed_files(after, _FILE_CHUNK_ROWS):
            after = chunk[-1].id
            kinds = list(pool.map(lambda file: _difference(source, file, deep), chunk))
            changed = [(kind, file) for kind, file in zip(kinds, chunk, strict=True) if kind is not None]
            current = store.still_indexed([file for _, file in changed]) if changed else set()
            yield from ((kind, file) for kind, file in changed if file in current)
            advance(len(chunk))


def stale_temp_files(home: Path) -> list[Path]:
    """Return temporary files and folders in a data folder whose process has ended."""
    folders = [home, *(folder for folder in (home / "vectors", home / "maps", home / "models") if folder.is_dir())]
    return sorted(path for folder in folders for path in folder.iterdir() if _is_stale(path))


def _difference(source: ImageSource, file: IndexedFile, deep: bool) -> str | None:
    """Return the kind of finding of a file that differs from its row; None if it does not."""
    try:
        stamp = source.stamp(file.path)
    except FileNotFoundError:
        return "files_missing"
    except ImageError:
        return "files_unreadable"
    is_untouched = stamp.matches(file.stamp)
    if (stamp.size, stamp.version) != (file.stamp.size, file.stamp.version) or not (deep or is_untouched):
        return "files_changed"
    if not deep:
        return None
    digest = digest_of(source, file.path, stamp)
    if digest == file.digest:
        return None
    other_bytes = "files_rotten" if is_untouched else "files_changed"
    return "files_unreadable" if digest is None else other_bytes


def _is_stale(path: Path) -> bool:
    match = _TEMPORARY_NAME.fullmatch(path.name)
    if match is None or path.is_symlink():
        return False
    pid = int(match[1])
    try:
        if os.name == "posix":
            os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return pid == os.getpid()
