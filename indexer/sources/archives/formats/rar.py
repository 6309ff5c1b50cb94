"""RAR archives, and comic books in them (CBR)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Set
from typing import IO, Any

from unrar.cffi.unrarlib import BadRarFile, BadRarPassword, RarArchive, RarHeader, RARHeaderDataEx, RARReadHeaderEx

from indexer.domain.errors import Damaged
from indexer.ports.sources import LINK
from indexer.sources.archives.formats import ENCRYPTED, FILE, FOLDER, Entry, Sink

_SPLIT, _ENCRYPTED_FLAG, _SOLID, _FOLDER_FLAG = 0x03, 0x04, 0x10, 0x20
"""Flags of entries: continued from or in another volume; encrypted; compressed together with those before; a folder."""

_SUCCESS, _END_OF_ARCHIVE = 0, 10
_MAX_SEARCHED_ENTRIES = 1000
"""Number of entries up to which one is searched for from the start for every read."""


class RarFile:
    """Implements `ArchiveFormat`."""

    has_checksums = True

    def __init__(self, file: IO[bytes]) -> None:
        self._path = _path_of(file)
        self._entries = list(self._read_entries(os.fstat(file.fileno()).st_size))

    @property
    def has_random_access(self) -> bool:
        """Whether the entries are compressed one by one, and are few."""
        return not self._is_solid and len(self._entries) <= _MAX_SEARCHED_ENTRIES

    def entries(self) -> Iterator[Entry]:
        """Yield the entries."""
        yield from self._entries

    def extract(self, numbers: Set[int], sink: Sink) -> None:
        """Extract entries; see `ArchiveFormat`."""
        left = len(numbers)
        with _opened(self._path) as archive:
            for number, header in enumerate(_headers(archive)):
                if number not in numbers:
                    header.skip()
                    continue
                problem = ""
                try:
                    header.test(lambda data, number=number: sink.write(number, data))
                except BadRarFile as error:
                    problem = f"it cannot be unpacked: {error.message}"
                sink.end(number, problem)
                left -= 1
                if not left:
                    break

    def _read_entries(self, archive_bytes: int) -> Iterator[Entry]:
        packed, self._is_solid = 0, False
        with _opened(self._path) as archive:
            for number, header in enumerate(_headers(archive)):
                self._is_solid = self._is_solid or bool(header.Flags & _SOLID)
                packed += header.PackSize + (header.PackSizeHigh << 32)
                if packed > archive_bytes:  # unrar takes a missing end for the end of the archive
                    raise Damaged("its end is missing")
                yield _entry(number, header)
                header.skip()


def open_archive(file: IO[bytes]) -> RarFile:
    """Open a RAR archive. Raises Damaged for one whose names are encrypted."""
    return RarFile(file)


def _opened(path: str) -> Any:
    try:
        return RarArchive.open_for_processing(path)
    except BadRarPassword as error:
        raise Damaged(ENCRYPTED) from error


def _headers(archive: Any) -> Iterator[Any]:
    """Yield the headers of the entries. Raises Damaged where unrar's own iterator would take damage for the end."""
    while (code := RARReadHeaderEx(archive.handle, data := RARHeaderDataEx())) == _SUCCESS:
        yield RarHeader(archive, data)
    if code != _END_OF_ARCHIVE:
        raise Damaged(f"a header in it is damaged or missing (code {code})")


def _entry(number: int, header: Any) -> Entry:
    flags = header.Flags
    kind = FOLDER if flags & _FOLDER_FLAG else LINK if header.headerDataEx.RedirType else FILE
    problem = ENCRYPTED if flags & _ENCRYPTED_FLAG else "it is split over several archives" if flags & _SPLIT else ""
    size = header.UnpSize + (header.UnpSizeHigh << 32)
    name = header.FileNameW.replace("\\", "/") if os.sep == "\\" else header.FileNameW
    return Entry(number, name.encode("utf-8", "surrogatepass"), size, header.FileCRC, kind, problem)


def _path_of(file: IO[bytes]) -> str:
    """Return a path for unrar, which opens files itself: that of the open file, so that nothing can replace it."""
    descriptor = f"/proc/self/fd/{file.fileno()}"
    return descriptor if os.path.exists(descriptor) else os.fsdecode(file.name)
