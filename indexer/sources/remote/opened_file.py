"""Archives on servers as open files: ZIP archives are read by parts, others are copied to a temporary file."""

from __future__ import annotations

import io
import tempfile
from collections import OrderedDict
from typing import IO, TYPE_CHECKING, cast

from indexer.domain.errors import Damaged, Unreadable
from indexer.sources.remote.servers import open_server

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from indexer.domain.files import FileStamp
    from indexer.sources.remote.server import FileServer, RemoteFile

MAX_COPIED_BYTES = 1 << 32
"""Limit of an archive that is copied, 4 GiB: up to 16 are open at a time."""

_PART_BYTES, _KEPT_PARTS = 1 << 20, 16
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")


def open_remote(path: bytes, stamp: FileStamp) -> IO[bytes]:
    """Open an archive that has a stamp.

    Raises FileNotFoundError, Damaged for one that is too large to be copied, and Unreadable if it cannot be read or has changed.
    """
    server = open_server(path)
    file = server.status(path)
    if file.stamp != stamp:
        raise Unreadable("it changed while it was read")
    head = server.part(path, file, 0, min(len(_ZIP[0]), file.size)) if file.size else None
    if head is not None and head.startswith(_ZIP):
        return cast("IO[bytes]", PartsFile(server, path, file))
    return _copied(server, path, stamp)


class PartsFile(io.RawIOBase):
    """A file on a server that is read by parts, of which it keeps the last ones. The file must not change."""

    def __init__(self, server: FileServer, path: bytes, file: RemoteFile) -> None:
        super().__init__()
        self._server, self._path, self._file = server, path, file
        self._position = 0
        self._parts: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}[whence]
        if start + offset < 0:
            raise ValueError("a position before the start of the file")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        number, offset = divmod(self._position, _PART_BYTES)
        data = self._part(number)[offset : offset + len(view)] if self._position < self._file.size else b""
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes: fewer only at the end, as packages expect."""
        left = max(0, self._file.size - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        data = bytearray()
        while len(data) < wanted and (chunk := super().read(wanted - len(data))):
            data += chunk
        return bytes(data)

    def _part(self, number: int) -> bytes:
        if number not in self._parts:
            start = number * _PART_BYTES
            end = min(start + _PART_BYTES, self._file.size)
            try:
                data = self._server.part(self._path, self._file, start, end)
            except FileNotFoundError as error:
                raise Unreadable("it vanished while it was read") from error
            if data is None or len(data) != end - start:
                raise Unreadable("its server does not give all of its parts")
            self._parts[number] = data
            if len(self._parts) > _KEPT_PARTS:
                self._parts.popitem(last=False)
        self._parts.move_to_end(number)
        return self._parts[number]


def _copied(server: FileServer, path: bytes, stamp: FileStamp) -> IO[bytes]:
    file, chunks = server.stream(path)
    if file.stamp != stamp:
        raise Unreadable("it changed while it was read")
    copy = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
    try:
        for chunk in chunks:
            copy.write(chunk)
            if max(copy.tell(), file.size) > MAX_COPIED_BYTES:
                raise Damaged(
                    f"it is larger than {MAX_COPIED_BYTES >> 30} GiB and can only be read as a whole; copy it to a disk"
                )
        if file.size and copy.tell() != file.size:
            raise Unreadable("its size differs from the one that its server states")
    except BaseException:
        copy.close()
        raise
    copy.seek(0)
    return copy
