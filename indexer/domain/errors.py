"""The whole exception tree. Every error a user can meet is one clear sentence and knows its exit code.

MoodexError                  1   anything the program knows how to name but has no better code for
├── UsageError               2   the command line asks for something that cannot be meant
│   ├── UnknownEmotion           a word that is no emotion in any vocabulary
│   └── NotIndexed               a path or id that the database does not hold
├── WriterBusy               4   another process is writing to this database
├── StoreDamaged             5   the database cannot be read as one
│   └── ForeignDatabase          it is another program's
├── Unavailable              6   a device or a model that is not there
│   ├── DeviceUnavailable
│   ├── ModelUnavailable
│   └── MissingExtra             a package that only some commands need is not installed
├── Interrupted        130/143   Ctrl-C or SIGTERM, after the batch at hand was saved
└── ImageError                   why one picture failed; never ends a run, becomes a failure row
    ├── Unreadable               the file could not be read; worth another try on every run
    ├── Unsupported              no decoder here knows the format; worth another try when one is installed
    └── Damaged                  the bytes are no picture, or exceed the limits; same bytes, same failure

Exit code 3 (finished, but files failed or a root was away) is an outcome, not an exception: see `pipeline.Summary.exit_code`.
"""

from __future__ import annotations

import errno

_FULL = (errno.ENOSPC, errno.EDQUOT)
DISK_ERRNOS = (*_FULL, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
"""Errors of the system that say something of a disk or its permissions, and nothing of this program."""

MAKE_ROOM = "What was committed is kept; make room, then run the same command again."


class MoodexError(Exception):
    """Base of every error shown to a user as one sentence."""

    exit_code = 1


class UsageError(MoodexError):
    """The arguments cannot be meant as given."""

    exit_code = 2


class UnknownEmotion(UsageError):
    """A word that no vocabulary knows as an emotion."""


class NotIndexed(UsageError):
    """A path or id that the database does not hold."""


class WriterBusy(MoodexError):
    """Another process holds the writer's lock of this database."""

    exit_code = 4


class StoreDamaged(MoodexError):
    """The database file is damaged, or is no moodex database."""

    exit_code = 5


class ForeignDatabase(StoreDamaged):
    """The database is another program's, and sound for all that is known."""


class Unavailable(MoodexError):
    """Something the machine was asked to use is not there."""

    exit_code = 6


class DeviceUnavailable(Unavailable):
    """The device asked for is not on this machine."""


class ModelUnavailable(Unavailable):
    """The model asked for is missing, damaged, or not what its card says."""


class MissingExtra(Unavailable):
    """A package that only some commands need is not installed."""


class Interrupted(MoodexError):
    """The user or the system asked the program to stop; what was committed stays."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


class ImageError(MoodexError):
    """Why one picture failed. `kind` is what is stored beside the reason and decides whether it is tried again."""

    kind = "damaged"


class Unreadable(ImageError):
    """The file could not be opened or read, or changed while it was read."""

    kind = "unreadable"


class Unsupported(ImageError):
    """A picture format that no installed decoder knows."""

    kind = "unsupported"


class Damaged(ImageError):
    """Bytes that are no whole picture, or a picture beyond the limits."""

    kind = "damaged"


def disk_error(what: object, error: OSError) -> MoodexError:
    """What cannot be written or read, why, and what to do about it, in a sentence."""
    if error.errno in _FULL:
        return MoodexError(f"{what} cannot be written: the disk is full. {MAKE_ROOM}")
    return MoodexError(f"{what} cannot be used: {error.strerror or error}.")
