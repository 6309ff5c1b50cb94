"""The record of the captions that moodex wrote, in the data folder: a caption has no room for the name of its author."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.errors import disk_error
from indexer.system.digest import digest

if TYPE_CHECKING:
    from typing import Self

FILE_NAME = "captions"
"""Name of the record in the data folder: an entry of `_ENTRY_BYTES` bytes for each path and content."""

_ENTRY_BYTES = 16


class CaptionRecord:
    """The captions that moodex wrote, each with its content: after a change by another program, a caption is not among them.

    A caption is recognized by its path or, if its folder moved, by its name and the time when it was written, which moves keep.
    """

    def __init__(self, path: Path, entries: set[bytes]) -> None:
        """`path` is the file; `entries` are those in it."""
        self._path, self._entries = path, entries

    @classmethod
    def read(cls, home: Path) -> Self:
        """Read the record of a data folder; it is empty if it is missing. Raises MoodexError if it cannot be read."""
        path = home / FILE_NAME
        try:
            data = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise disk_error(f"The record of captions {path}", error) from error
        return cls(path, {data[start : start + _ENTRY_BYTES] for start in range(0, len(data), _ENTRY_BYTES)})

    def has(self, path: bytes, content: bytes) -> bool:
        """Return whether moodex wrote this content to this path, or to a file that was moved there."""
        return _entry(path, content) in self._entries or _timed_entry(path, content) in self._entries

    def add(self, path: bytes, content: bytes) -> None:
        """Record that moodex is about to write a caption. Raises MoodexError if the record cannot be written."""
        self._add(_entry(path, content))

    def add_time(self, path: bytes, content: bytes) -> None:
        """Record when moodex wrote a caption, which exists now. Raises MoodexError if the record cannot be written."""
        entry = _timed_entry(path, content)
        if entry is not None:
            self._add(entry)

    def _add(self, entry: bytes) -> None:
        if entry in self._entries:
            return
        try:
            with self._path.open("ab") as file:
                # A write that a crash or a full disk cut off must not shift the entries after it.
                if odd := file.tell() % _ENTRY_BYTES:
                    file.write(bytes(_ENTRY_BYTES - odd))
                file.write(entry)
        except OSError as error:
            raise disk_error(f"The record of captions {self._path}", error) from error
        self._entries.add(entry)


def _timed_entry(path: bytes, content: bytes) -> bytes | None:
    """Return the entry of a caption wherever it is; None if it does not exist."""
    try:
        written = os.stat(path).st_mtime_ns
    except OSError:
        return None
    return digest(b"%d\0%b\0%b" % (written, os.path.basename(path), content))[:_ENTRY_BYTES]


def _entry(path: bytes, content: bytes) -> bytes:
    return digest(os.path.abspath(path) + b"\0" + content)[:_ENTRY_BYTES]
