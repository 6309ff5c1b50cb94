"""The protocol of servers, of which buckets and web servers are two kinds, and what they tell of a file."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple, Protocol

from indexer.domain.errors import Damaged, Unreadable
from indexer.domain.files import FileStamp
from indexer.ports.sources import EXTENSIONS, EXTRA_EXTENSIONS, extension_of
from indexer.sources.archives.packages import is_readable_archive
from indexer.sources.entries import InnerFolder, Member
from indexer.system.safe_read import MAX_FILE_BYTES

RETRIES, RETRY_SECONDS, REQUEST_SECONDS = 5, 60.0, 60.0
"""A request that fails for the moment is repeated, with growing pauses, for up to a minute; one request takes up to a minute."""

PART_BYTES = 1 << 24
"""Files that are larger are read in parts of 16 MiB, one request for each, so that a slow line has a minute for each part."""


class Denied(Unreadable):
    """A server that answers, but does not give a file or folder."""


class RemoteFile(NamedTuple):
    """What a server tells of a file.

    - `size`: in bytes; 0 if it is unknown.
    - `tag`: its ETag as the server writes it; "" if it has none.
    - `modified_ns`: when it was modified, in nanoseconds since the epoch.
    """

    size: int
    tag: str
    modified_ns: int

    @property
    def stamp(self) -> FileStamp:
        """The size, and 64 bits of a digest of the ETag; without an ETag, of the time."""
        mark = self.tag.removeprefix("W/").strip('"') or str(self.modified_ns)
        return FileStamp(self.size, version_of(mark))

    @property
    def member(self) -> Member:
        """The file as a member of its folder."""
        stamp = self.stamp
        return Member(stamp.size, stamp.version, None)


class FileServer(Protocol):
    """A server of files. Paths are addresses in their one form. Thread-safe.

    Every method but `has_parts` raises FileNotFoundError if the server answers that there is nothing, Denied if it does not give
    it, and Unreadable if nothing is known.
    """

    def is_folder(self, path: bytes) -> bool:
        """Return whether a path is that of a folder."""

    def listing(self, folder: bytes) -> InnerFolder:
        """Return what is directly in a folder."""

    def status(self, path: bytes) -> RemoteFile:
        """Return what the server tells of a file."""

    def stream(self, path: bytes) -> tuple[RemoteFile, Iterator[bytes]]:
        """Return what the server tells of a file, and its bytes in chunks. The iterator raises Unreadable if they end early."""

    def part(self, path: bytes, file: RemoteFile, start: int, end: int) -> bytes | None:
        """Return the bytes from `start` to before `end` of a file that has not changed; None if the server gives no parts."""


def version_of(text: str) -> int:
    """Return 64 bits of a digest, as the version of a stamp."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little", signed=True)


def read_all(server: FileServer, path: bytes) -> tuple[bytes, RemoteFile]:
    """Return the bytes of an image. Raises Damaged if it is too large, and what the methods of servers raise."""
    file, chunks = server.stream(path)
    if file.size > MAX_FILE_BYTES:
        raise too_large(file.size)
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > MAX_FILE_BYTES:
            raise too_large(len(data))
    if file.size and len(data) != file.size:
        raise Unreadable("its size differs from the one that its server states")
    return bytes(data), file


def too_large(size: int) -> Damaged:
    """Return the error for an image above the limit."""
    return Damaged(f"its size of {size / 1e6:.0f} MB exceeds the limit of {MAX_FILE_BYTES / 1e6:.0f} MB")


def is_wanted(name: bytes) -> bool:
    """Return whether a file has the name of an image or of an archive, so that its stamp is needed."""
    return has_image_name(name) or is_readable_archive(name)


def has_image_name(name: bytes) -> bool:
    """Return whether a file has the extension of an image."""
    return extension_of(name) in EXTENSIONS or extension_of(name) in EXTRA_EXTENSIONS
