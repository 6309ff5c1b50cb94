"""Tar archives, plain or compressed, and WebDataset shards, which are plain ones."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import tarfile
from collections.abc import Iterator, Set
from tarfile import EmptyHeaderError, EOFHeaderError, HeaderError, TarFile, TarInfo  # type: ignore[attr-defined]
from typing import IO, Any, Self, cast

from indexer.domain.errors import Damaged
from indexer.ports.sources import LINK
from indexer.sources.archives.formats import FILE, FOLDER, SPECIAL, Entry, Sink

_CHUNK_BYTES = 1 << 20
_SECOND_NS = 1_000_000_000
_END_OF_ARCHIVE = (EmptyHeaderError, EOFHeaderError)


class _StrictTarInfo(TarInfo):
    """Headers of a tar archive. A damaged one is an error: tarfile would take it for the end of the archive."""

    @classmethod
    def fromtarfile(cls, tarfile: TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except _END_OF_ARCHIVE:
            raise
        except HeaderError as error:
            raise Damaged(f"a header in it is damaged: {error}") from error


class TarArchive:
    """Implements `ArchiveFormat`."""

    has_checksums = False

    def __init__(self, file: IO[bytes], kind: str) -> None:
        self._file, self._kind = file, kind
        self.has_random_access = not kind
        self._spans: dict[int, tuple[int, int]] = {}

    def entries(self) -> Iterator[Entry]:
        """Yield the entries. A plain archive is read header by header, a compressed one as a whole."""
        for number, member in enumerate(self._members()):
            problem = "it is a sparse file" if member.issparse() else ""
            if self.has_random_access:
                self._spans[number] = (member.offset_data, member.size)
            name = member.name.encode("utf-8", "surrogateescape")
            version = int(member.mtime * _SECOND_NS) & 0x7FFF_FFFF_FFFF_FFFF
            yield Entry(number, name, member.size, version, _kind_of(member), problem)

    def extract(self, numbers: Set[int], sink: Sink) -> None:
        """Extract entries; see `ArchiveFormat`."""
        if self.has_random_access:
            for number in sorted(numbers):
                offset, size = self._spans[number]
                self._file.seek(offset)
                _copy(self._file, size, number, sink)
            return
        left = len(numbers)
        members = self._members(with_data=True)
        for number, member in enumerate(members):
            if number in numbers:
                data = self._opened.extractfile(member)
                if data is not None:
                    _copy(data, member.size, number, sink)
                left -= 1
            if not left:
                break

    def _members(self, with_data: bool = False) -> Iterator[TarInfo]:
        self._file.seek(0)
        mode: Any = "r:" if self.has_random_access else "r|"
        stream = self._file if self.has_random_access else _decompressed(self._file, self._kind)
        with tarfile.open(
            fileobj=stream, mode=mode, tarinfo=_StrictTarInfo, encoding="utf-8", errors="surrogateescape"
        ) as self._opened:
            for member in self._opened:
                yield member
                self._opened.members.clear()  # type: ignore[attr-defined]  # a million of them take a gigabyte


def open_archive(file: IO[bytes]) -> TarArchive:
    """Open a tar archive, compressed or not."""
    head = file.read(4)
    file.seek(0)
    kinds = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd"}
    return TarArchive(file, kinds.get(head[:2], ""))


def _decompressed(file: IO[bytes], kind: str) -> IO[bytes]:
    if kind == "gzip":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if kind == "bzip2":
        return bz2.BZ2File(file)
    if kind == "xz":
        return lzma.LZMAFile(file)
    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdFile
    else:
        from backports.zstd import ZstdFile
    return cast("IO[bytes]", ZstdFile(file))


def _copy(file: IO[bytes], size: int, number: int, sink: Sink) -> None:
    while size > 0 and (data := file.read(min(size, _CHUNK_BYTES))):
        size -= len(data)
        sink.write(number, data)
    sink.end(number, "its end is missing" if size else "")


def _kind_of(member: TarInfo) -> str:
    if member.isfile():
        return FILE
    if member.isdir():
        return FOLDER
    return LINK if member.issym() or member.islnk() else SPECIAL
