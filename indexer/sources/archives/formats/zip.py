"""ZIP archives, and comic books in them (CBZ)."""

from __future__ import annotations

import lzma
import stat
import zlib
from collections.abc import Iterator, Set
from contextlib import suppress
from typing import IO
from zipfile import BadZipFile, ZipFile, ZipInfo

from indexer.ports.sources import LINK
from indexer.sources.archives.formats import ENCRYPTED, FILE, FOLDER, SPECIAL, Entry, Sink

_ENCRYPTED_FLAG, _UTF8_FLAG = 0x1, 0x800
_CHUNK_BYTES = 1 << 20
_MEMBER_ERRORS = (BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, MemoryError, zlib.error, lzma.LZMAError)


class ZipArchive:
    """Implements `ArchiveFormat`."""

    has_random_access = has_checksums = True

    def __init__(self, file: IO[bytes]) -> None:
        self._archive = ZipFile(file)
        self._members = self._archive.infolist()

    def entries(self) -> Iterator[Entry]:
        """Yield the entries of the central directory."""
        for number, member in enumerate(self._members):
            problem = ENCRYPTED if member.flag_bits & _ENCRYPTED_FLAG else ""
            yield Entry(number, _name(member), member.file_size, member.CRC, _kind(member), problem)

    def extract(self, numbers: Set[int], sink: Sink) -> None:
        """Extract entries; see `ArchiveFormat`."""
        for number in sorted(numbers):
            problem = ""
            try:
                member = self._archive.open(self._members[number])
            except _MEMBER_ERRORS as error:
                sink.end(number, f"it cannot be unpacked: {error}")
                continue
            with member:
                while True:
                    try:
                        data = member.read(_CHUNK_BYTES)
                    except _MEMBER_ERRORS as error:
                        problem = f"it cannot be unpacked: {error}"
                        break
                    if not data:
                        break
                    sink.write(number, data)
            sink.end(number, problem)


def open_archive(file: IO[bytes]) -> ZipArchive:
    """Open a ZIP archive."""
    return ZipArchive(file)


def _name(member: ZipInfo) -> bytes:
    """Return the name of an entry as UTF-8. Old programs write other bytes, which the format takes for code page 437."""
    name = member.orig_filename
    if not member.flag_bits & _UTF8_FLAG:
        written = name.encode("cp437", "replace")
        with suppress(UnicodeDecodeError):
            name = written.decode()  # many programs write UTF-8 and do not set the flag
    if "/" not in name:
        name = name.replace("\\", "/")
    return name.encode("utf-8", "surrogateescape")


def _kind(member: ZipInfo) -> str:
    mode = member.external_attr >> 16
    if member.is_dir():
        return FOLDER
    if stat.S_ISLNK(mode):
        return LINK
    return FILE if stat.S_IFMT(mode) in (0, stat.S_IFREG) else SPECIAL
