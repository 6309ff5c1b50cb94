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


class FileState(StrEnum):
    """The state of a file in the database. GONE means that the file is missing on disk."""

    DONE = "done"
    FAILED = "failed"
    PENDING = "pending"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class FileStamp:
    """Size and version of a file: a file with another stamp is read again.

    `size` is in bytes. `version` is 64 bits that change with the content, and that only the source of the file can read: of a
    local file the time of its last change, in nanoseconds since the epoch.
    """

    size: int
    version: int


def changed_ns(status: os.stat_result) -> int:
    """Return a file's modification time in nanoseconds since the epoch, as a signed 64-bit integer.

    Times after the year 2262 wrap around.
    """
    nanoseconds = status.st_mtime_ns
    if -_INT64_LIMIT <= nanoseconds < _INT64_LIMIT:
        return nanoseconds
    return (nanoseconds + _INT64_LIMIT) % (2 * _INT64_LIMIT) - _INT64_LIMIT


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
