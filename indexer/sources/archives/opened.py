"""An open archive: its contents, with those of the archives in it, and the bytes of its members."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from typing import IO

from indexer.domain.errors import Damaged, ImageError, Unreadable
from indexer.domain.files import FileStamp, stamp_of
from indexer.ports.sources import EXTENSIONS, EXTRA_EXTENSIONS, extension_of
from indexer.sources.archives.contents import Contents, inner_path, missing
from indexer.sources.archives.formats import FILE, FOLDER, Entry, open_format
from indexer.sources.archives.packages import is_readable_archive
from indexer.sources.archives.spool import Spool
from indexer.sources.entries import Member
from indexer.system.addresses import remote_address

MAX_ENTRIES = 1_000_000

_MIN_UNPACKED_BYTES, _MAX_UNPACKED_BYTES, _MAX_UNPACKED_RATIO = 1 << 30, 1 << 35, 100
"""An archive that is not read at random is unpacked up to 100 times its size: at least 1 GiB and at most 32 GiB."""

_UNSAFE = "unsafe name in an archive"


class OpenedArchive:
    """An archive whose members are read: a file with a name and a stamp. `is_inner` is whether it is a member of another one."""

    def __init__(self, file: IO[bytes], name: bytes, stamp: FileStamp, is_inner: bool = False) -> None:
        with damage_explained():
            self._format = open_format(file, name)
        self._file, self._name, self._stamp, self._is_inner = file, name, stamp, is_inner
        self._max_bytes = min(max(_MIN_UNPACKED_BYTES, _MAX_UNPACKED_RATIO * stamp.size), _MAX_UNPACKED_BYTES)
        self._numbers: dict[bytes, int] = {}
        self._inner: dict[bytes, OpenedArchive] = {}
        self._spool: Spool | None = None
        self.contents = self._list()

    def read(self, path: bytes) -> bytes:
        """Return the bytes of a member. Raises FileNotFoundError, Damaged and Unreadable."""
        if path in self._numbers:
            return self._bytes(self._numbers[path])
        for prefix, inner in self._inner.items():
            if path.startswith(prefix + b"/"):
                return inner.read(path[len(prefix) + 1 :])
        raise missing()

    def has(self, stamp: FileStamp) -> bool:
        """Return whether the archive still has a stamp. On a server, reading fails if it changes."""
        return remote_address(self._name) is not None or stamp_of(os.fstat(self._file.fileno())) == stamp

    def close(self) -> None:
        """Close the archive and delete what was unpacked."""
        for inner in self._inner.values():
            inner.close()
        if self._spool is not None:
            self._spool.close()
        self._file.close()

    def _list(self) -> Contents:
        files: dict[bytes, Member] = {}
        urls: dict[bytes, str] = {}
        passed_over: dict[bytes, str] = {}
        broken: dict[bytes, str] = {}
        archives: dict[bytes, Entry] = {}
        for path, entry in self._entries(passed_over).items():
            if entry.url:
                files[path] = Member(entry.size, entry.version, None, entry.problem)
                urls[path] = entry.url
            elif extension_of(path) in EXTENSIONS or extension_of(path) in EXTRA_EXTENSIONS:
                self._numbers[path] = entry.number
                files[path] = Member(entry.size, entry.version, self._change_of_members, entry.problem)
            elif not self._is_inner and is_readable_archive(path):
                self._numbers[path] = entry.number
                archives[path] = entry
        for path, entry in archives.items():
            try:
                inner = self._inner[path] = self._opened_inner(path, entry)
            except ImageError as error:
                broken[path] = str(error)
                continue
            if inner.contents.urls:
                broken[path] = "it is a table of addresses in an archive; unpack it"
                continue
            files.update({path + b"/" + name: member for name, member in inner.contents.files.items()})
            passed_over.update({path + b"/" + name: kind for name, kind in inner.contents.passed_over.items()})
        return Contents(files, passed_over, broken, urls)

    def _opened_inner(self, path: bytes, entry: Entry) -> OpenedArchive:
        if entry.problem:
            raise Damaged(entry.problem)
        file = self._unpacked(entry.number)
        return OpenedArchive(file, path, replace(self._stamp, size=os.fstat(file.fileno()).st_size), is_inner=True)

    @property
    def _change_of_members(self) -> int | None:
        """The last part of the stamp of members: without checksums, all of them change with their archive."""
        if self._format.has_checksums:
            return None
        return self._stamp.version if self._stamp.change is None else self._stamp.change

    def _entries(self, passed_over: dict[bytes, str]) -> dict[bytes, Entry]:
        """Return the files by path, the last one of each; add the others to `passed_over`."""
        files: dict[bytes, Entry] = {}
        with damage_explained():
            for count, entry in enumerate(self._format.entries(), 1):
                if count > MAX_ENTRIES:
                    raise Damaged(f"it has more than {MAX_ENTRIES:,} members")
                path = inner_path(entry.name)
                if path is None:
                    passed_over.setdefault(b"?%d" % entry.number, _UNSAFE)
                elif entry.kind == FILE:
                    files[path] = entry
                elif entry.kind != FOLDER:
                    passed_over[path] = entry.kind
        return files

    def _bytes(self, number: int) -> bytes:
        if not self._format.has_random_access:
            return self._unpack_all().read(number)
        return self._extract({number}, BytesIO(), frozenset()).read(number)

    def _unpacked(self, number: int) -> IO[bytes]:
        """Return a temporary file with the bytes of a member that is an archive. Raises Damaged and Unreadable."""
        if not self._format.has_random_access:
            return self._unpack_all().copy(number)
        with tempfile.TemporaryFile() as file:
            return self._extract({number}, file, {number}).copy(number)

    def _unpack_all(self) -> Spool:
        """Unpack all members at the first call: the format reads them only one after the other."""
        if self._spool is None:
            archives = {number for path, number in self._numbers.items() if is_readable_archive(path)}
            file = tempfile.TemporaryFile()  # noqa: SIM115  # `close` closes it
            self._spool = self._extract(set(self._numbers.values()), file, archives)
        return self._spool

    def _extract(self, numbers: Set[int], file: IO[bytes], archives: Set[int]) -> Spool:
        spool = Spool(file, self._max_bytes, archives)
        try:
            with damage_explained():
                self._format.extract(numbers, spool)
        except Damaged as error:
            spool.failure = str(error)  # of the members that did not come; the others are read
        return spool


@contextmanager
def damage_explained() -> Iterator[None]:
    """Turn errors of packages on damaged bytes, which are of any type, into Damaged, and errors of the disk into Unreadable."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError as error:
        raise Damaged("unpacking it needs more memory than is available") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise Unreadable(f"it cannot be unpacked: {error.strerror}") from error
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise Damaged(f"the archive is damaged: {text}") from error
