"""7z archives, and comic books in them (CB7). They are read from the start: most of them are compressed as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from typing import IO

from py7zr import SevenZipFile
from py7zr.exceptions import PasswordRequired
from py7zr.io import Py7zIO, WriterFactory

from indexer.domain.errors import Damaged
from indexer.ports.sources import LINK
from indexer.sources.archives.formats import ENCRYPTED, FILE, FOLDER, SPECIAL, Entry, Sink


class SevenZipArchive:
    """Implements `ArchiveFormat`."""

    has_random_access, has_checksums = False, True

    def __init__(self, file: IO[bytes]) -> None:
        try:
            self._archive = SevenZipFile(file)
        except PasswordRequired as error:
            raise Damaged(ENCRYPTED) from error
        if self._archive.needs_password():
            raise Damaged(ENCRYPTED)

    def entries(self) -> Iterator[Entry]:
        """Yield the entries of the archive's header."""
        for number, member in enumerate(self._archive.files):
            kind = FOLDER if member.is_directory else LINK if member.is_symlink or member.is_junction else FILE
            kind = SPECIAL if member.is_socket else kind
            name = member.filename.encode("utf-8", "surrogateescape")
            yield Entry(number, name, member.uncompressed, member.crc32 or 0, kind)

    def extract(self, numbers: Set[int], sink: Sink) -> None:
        """Extract entries; see `ArchiveFormat`."""
        wanted = {member.filename: number for number, member in enumerate(self._archive.files) if number in numbers}
        self._archive.reset()
        self._archive.extract(targets=list(wanted), factory=_Writers(wanted, sink))


class _Writers(WriterFactory):
    """Hands the bytes of each entry to a sink."""

    def __init__(self, numbers: dict[str, int], sink: Sink) -> None:
        self._numbers, self._sink = numbers, sink

    def create(self, filename: str) -> Py7zIO:
        number = self._numbers.get(filename)
        if number is None:  # a further entry with the same name, which py7zr names apart
            return _Writer(lambda _: None, lambda: None)
        return _Writer(lambda data: self._sink.write(number, data), lambda: self._sink.end(number))


class _Writer(Py7zIO):
    def __init__(self, write: Callable[[bytes], None], end: Callable[[], None]) -> None:
        self._write, self._end, self._size = write, end, 0

    def write(self, s: bytes | bytearray) -> int:
        self._write(bytes(s))
        self._size += len(s)
        return len(s)

    def read(self, size: int | None = None) -> bytes:
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0

    def flush(self) -> None:
        """Do nothing: what is written is taken."""

    def size(self) -> int:
        return self._size

    def close(self) -> None:
        self._end()


def open_archive(file: IO[bytes]) -> SevenZipArchive:
    """Open a 7z archive. Raises Damaged for an encrypted one."""
    return SevenZipArchive(file)
