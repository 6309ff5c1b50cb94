"""Files as the store records them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

FILE_SYSTEM = "file"
"""The name of the source that is the file system of this machine."""

_INT64_LIMIT = 1 << 63
_SECOND_NS = 1_000_000_000


class FileState(StrEnum):
    """The state of a file in the database. GONE means that the file is missing on disk."""

    DONE = "done"
    FAILED = "failed"
    PENDING = "pending"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class FileStamp:
    """Size and version of a file: a file with another stamp is read again.

    - `size`: in bytes.
    - `version`: 64 bits that change with the content, and that only the source of the file can read: of a local file the time of
      its last modification, in nanoseconds since the epoch.
    - `change`: 64 bits that change even if a program sets the version back; None if they are unknown.
    """

    size: int
    version: int
    change: int | None = None

    def matches(self, other: FileStamp) -> bool:
        """Return whether two stamps are equal as far as both are known."""
        same = self.size == other.size and self.version == other.version
        return same and (self.change is None or other.change is None or self.change == other.change)


def stamp_of(status: os.stat_result) -> FileStamp:
    """Return the stamp of a local file.

    `change` is the time of its last change (ctime), which no program can set. Where the file system counts only whole seconds,
    the number of its inode is added, because another file may have replaced it in the same second; but not where both times are
    one, as on FAT, because such file systems number their files again whenever they are mounted.
    """
    changed = status.st_ctime_ns
    is_coarse = changed % _SECOND_NS == 0 and changed != status.st_mtime_ns
    inode = status.st_ino if is_coarse else 0
    return FileStamp(status.st_size, _wrapped(status.st_mtime_ns), _wrapped(changed + inode))


def _wrapped(number: int) -> int:
    """Return a number as a signed 64-bit integer. Times after the year 2262 wrap around."""
    if -_INT64_LIMIT <= number < _INT64_LIMIT:
        return number
    return (number + _INT64_LIMIT) % (2 * _INT64_LIMIT) - _INT64_LIMIT


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a file has no prediction. `kind` is that of an ImageError, `reason` a sentence."""

    kind: str
    reason: str


class IndexedFile(NamedTuple):
    """A file in the state DONE, with its stamp and digest when it was read."""

    id: int
    path: bytes
    stamp: FileStamp
    digest: bytes


class IndexedRoot(NamedTuple):
    """A folder or file that a user indexed.

    `indexed_at` is when a run last surveyed it, in seconds since the epoch; `files` the number of its files that are not missing.
    """

    path: bytes
    indexed_at: float
    files: int


class Counts(NamedTuple):
    """The number of files by state, and of distinct images."""

    files: Mapping[FileState, int]
    images: int
