"""What a check-up finds outside the database: files that are not as they were, and what killed programs have left."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from indexer.domain.files import FileStamp, changed_ns

if TYPE_CHECKING:
    from indexer.domain.health import IndexedFile

_HASH_CHUNK_BYTES = 1 << 20
_TEMPORARY = re.compile(r"\..+\.(\d+)\.tmp(\.work|\.work\.fresh)?(-wal|-shm|-journal)?")
"""What `atomic.replace_file` calls a file before it is whole; SQLite may have some of its own beside it."""


def digest_of(path: bytes, stamp: FileStamp) -> bytes | None:
    """The digest of a file's bytes; None where it cannot be read, or has another stamp."""
    seen = blake3()
    try:
        with open(path, "rb") as file:
            while part := file.read(_HASH_CHUNK_BYTES):
                seen.update(part)
            found = os.fstat(file.fileno())
    except OSError:
        return None
    return seen.digest() if FileStamp(found.st_size, changed_ns(found)) == stamp else None


def find_changed_files(
    portions: Iterable[list[IndexedFile]],
    deep: bool,
    workers: int,
    still_known: Callable[[Sequence[IndexedFile]], Set[IndexedFile]],
    advance: Callable[[int], None],
) -> Iterator[tuple[str, IndexedFile]]:
    """The files that are not as the database knows them, each with the kind of finding that it is.

    Looks from outside; if `deep`, every file is read and its digest compared. What was indexed anew meanwhile is let be.
    """
    with ThreadPoolExecutor(workers) as pool:
        for portion in portions:
            kinds = list(pool.map(lambda place: _changed(place, deep), portion))
            found = [(kind, place) for kind, place in zip(kinds, portion, strict=True) if kind is not None]
            known = still_known([place for _, place in found]) if found else set()
            yield from ((kind, place) for kind, place in found if place in known)
            advance(len(portion))


def stale_temp_files(home: Path) -> list[Path]:
    """Temporary files and folders in a data folder whose process has ended."""
    folders = [home, *(folder for folder in (home / "vectors", home / "models") if folder.is_dir())]
    return sorted(path for folder in folders for path in folder.iterdir() if _is_left(path))


def _changed(place: IndexedFile, deep: bool) -> str | None:
    try:
        found = os.stat(place.path)
    except (FileNotFoundError, NotADirectoryError):
        return "files_missing"
    except (OSError, ValueError):
        return "files_unreadable"
    if FileStamp(found.st_size, changed_ns(found)) != place.stamp:
        return "files_changed"
    if not deep:
        return None
    digest = digest_of(place.path, place.stamp)
    if digest is None:
        return "files_unreadable"
    return None if digest == place.digest else "files_rotten"


def _is_left(path: Path) -> bool:
    named = _TEMPORARY.fullmatch(path.name)
    if named is None or path.is_symlink():
        return False
    pid = int(named[1])
    try:
        if os.name == "posix":
            os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return pid == os.getpid()
