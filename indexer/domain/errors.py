"""The exception tree. Every error that a user sees is one clear sentence with an exit code.

MoodexError                  1   any other error that moodex explains
├── UsageError               2   the command line is invalid
│   ├── UnknownEmotion           a word that is not an emotion in any vocabulary
│   └── NotIndexed               a path or id that is not in the database
├── WriterBusy               4   another process is writing to this database
├── ReadersBusy              1   a server reads the database as often at a time as it can
├── StoreDamaged             5   SQLite cannot read the database
│   └── ForeignDatabase          the database belongs to another program
├── Unavailable              6   a device, model or package is missing
│   ├── DeviceUnavailable
│   ├── ModelUnavailable
│   └── MissingExtra             a package that only some commands need is not installed
├── Interrupted        130/143   Ctrl-C or SIGTERM, after the current batch was saved
└── ImageError                   why one image failed; never ends a run, becomes a failure row
    ├── Unreadable               the file could not be read; every run retries it
    ├── Unsupported              no installed decoder knows the format; retried once a decoder is installed
    └── Damaged                  the bytes are not an image, or exceed the limits; the same bytes always fail

Exit code 3 (finished, but files failed or a root is missing) is an outcome, not an exception: see `reports.Summary.exit_code`.
"""

from __future__ import annotations

import errno

FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
"""Errors of the operating system for a full disk or a used-up quota."""

DISK_ERRNOS = (*FULL_ERRNOS, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
"""Errors of the operating system that concern a disk or its permissions, and are not bugs of moodex."""

MAKE_ROOM = "Committed results are kept. Free some space, then run the same command again."


class MoodexError(Exception):
    """Base of every error shown to a user as one sentence."""

    exit_code = 1


class UsageError(MoodexError):
    """The arguments are invalid."""

    exit_code = 2


class MapChanged(UsageError):
    """The map that a request names is not the present one."""


class UnknownEmotion(UsageError):
    """A word that is not an emotion in any vocabulary."""


class NotIndexed(UsageError):
    """A path or id that is not in the database."""


class WriterBusy(MoodexError):
    """Another process holds the writer lock of this database."""

    exit_code = 4


class ReadersBusy(MoodexError):
    """All readers of a server were in use for too long."""


class StoreDamaged(MoodexError):
    """The database file is damaged, or is not a moodex database."""

    exit_code = 5


class ForeignDatabase(StoreDamaged):
    """The database belongs to another program; nothing indicates damage."""


class Unavailable(MoodexError):
    """A requested device, model or package is missing."""

    exit_code = 6


class DeviceUnavailable(Unavailable):
    """The requested device is not on this machine."""


class ModelUnavailable(Unavailable):
    """The requested model is missing, damaged, or does not match its card."""


class MissingExtra(Unavailable):
    """A package that only some commands need is not installed."""


class Interrupted(MoodexError):
    """The user or the system stopped the program; committed results are kept."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


class ImageError(MoodexError):
    """Why one image failed. `kind` is stored with the reason and decides whether a run retries the file."""

    kind = "damaged"


class Unreadable(ImageError):
    """The file could not be opened or read, or changed while it was read."""

    kind = "unreadable"


class Unsupported(ImageError):
    """An image format that no installed decoder knows."""

    kind = "unsupported"


class Damaged(ImageError):
    """Bytes that are not a complete image, or an image that exceeds the limits."""

    kind = "damaged"


def disk_error(what: object, error: OSError) -> MoodexError:
    """Describe a failed access to `what`: what failed, why, and what to do."""
    if error.errno in FULL_ERRNOS:
        return MoodexError(f"{what} cannot be written: the disk is full. {MAKE_ROOM}")
    return MoodexError(f"{what} cannot be used: {error.strerror or error}.")
