"""Files as the store knows them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

FILE_SYSTEM = "file"
"""The name of the source that is the file system of this machine."""

_HALF = 1 << 63


class FileState(StrEnum):
    """What the database knows of a file."""

    DONE = "done"
    FAILED = "failed"
    PENDING = "pending"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What a file looked like from outside: enough to decide whether to look inside again.

    `size` is in bytes. `version` is 64 bits that change with the content, and that only the source of the file can read: of a
    local file the time of its last change, in nanoseconds since the epoch.
    """

    size: int
    version: int


def changed_ns(status: os.stat_result) -> int:
    """When a file was changed, in nanoseconds since the epoch, as 64 bits hold it: beyond the year 2262 they wrap around."""
    nanoseconds = status.st_mtime_ns
    return nanoseconds if -_HALF <= nanoseconds < _HALF else (nanoseconds + _HALF) % (2 * _HALF) - _HALF


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a file has no prediction: `kind` is an ImageError's, `reason` a sentence."""

    kind: str
    reason: str


class Counts(NamedTuple):
    """The number of files by state, and of distinct images."""

    files: Mapping[FileState, int]
    images: int
