"""Temporary room for the unpacked members of an archive, with limits."""

from __future__ import annotations

import tempfile
from collections.abc import Set
from typing import IO

from indexer.domain.errors import Damaged
from indexer.system.safe_read import MAX_FILE_BYTES

_CHUNK_BYTES = 1 << 20


class Spool:
    """Implements `indexer.sources.archives.formats.Sink` with a file, which has no name and ends with the process.

    - `max_bytes`: limit of all members together; more is a bomb.
    - `large`: numbers of the members, archives themselves, that may be larger than images.
    """

    def __init__(self, file: IO[bytes], max_bytes: int, large: Set[int]) -> None:
        self._file, self._max_bytes, self._large = file, max_bytes, large
        self._starts: dict[int, int] = {}
        self._spans: dict[int, tuple[int, int]] = {}
        self._problems: dict[int, str] = {}
        self._end = 0
        self.failure = "it is missing in its archive"
        """The reason why members that did not come cannot be read."""

    def write(self, number: int, data: bytes) -> None:
        """Take the next bytes of a member. Raises Damaged beyond `max_bytes`, and OSError if the disk is full."""
        start = self._starts.setdefault(number, self._end)
        if self._end + len(data) > self._max_bytes:
            self._problems[number] = self.failure = f"unpacked, its archive exceeds the limit of {self._max_bytes >> 20} MiB"
            raise Damaged(self.failure)
        if number in self._problems:
            return
        if self._end + len(data) - start > MAX_FILE_BYTES and number not in self._large:
            self._problems[number] = f"its size exceeds the limit of {MAX_FILE_BYTES / 1e6:.0f} MB"
            self._end = start
            return
        self._file.seek(self._end)
        self._file.write(data)
        self._end += len(data)

    def end(self, number: int, problem: str = "") -> None:
        """Take the end of a member, or the reason why it cannot be read."""
        if problem:
            self._problems.setdefault(number, problem)
        start = self._starts.get(number, self._end)
        self._spans[number] = (start, self._end - start)

    def read(self, number: int) -> bytes:
        """Return the bytes of a member. Raises Damaged if it could not be unpacked."""
        start, size = self._span(number)
        self._file.seek(start)
        return self._file.read(size)

    def copy(self, number: int) -> IO[bytes]:
        """Return the bytes of a member in a temporary file. Raises Damaged if it could not be unpacked."""
        start, left = self._span(number)
        target = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
        self._file.seek(start)
        while left and (data := self._file.read(min(left, _CHUNK_BYTES))):
            target.write(data)
            left -= len(data)
        target.seek(0)
        return target

    def _span(self, number: int) -> tuple[int, int]:
        if number in self._problems or number not in self._spans:
            raise Damaged(self._problems.get(number, self.failure))
        return self._spans[number]

    def close(self) -> None:
        """Delete the file."""
        self._file.close()
