"""The formats of archives, and the choice of the one that reads a file. Only child processes open archives."""

from __future__ import annotations

from collections.abc import Iterable, Set
from importlib import import_module
from typing import IO, NamedTuple, Protocol

from indexer.domain.errors import Damaged, Unsupported
from indexer.ports.sources import LINK, TABLE_EXTENSIONS, extension_of
from indexer.sources.archives.packages import install_packages, is_installed

FILE, FOLDER, SPECIAL = "file", "folder", "device or pipe"
"""Kinds of entries, besides links (`indexer.ports.sources.LINK`)."""

ENCRYPTED = "it is encrypted; unpack it with its password and index the folder"

_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
_HEAD_BYTES = 512

_BY_START: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),  # an empty one
    (b"7z\xbc\xaf\x27\x1c", "sevenzip"),
    (b"Rar!\x1a\x07", "rar"),
    (b"\x1f\x8b", "tar"),
    (b"BZh", "tar"),
    (b"\xfd7zXZ\0", "tar"),
    (b"\x28\xb5\x2f\xfd", "tar"),
    (b"PAR1", "columns"),
    (b"ARROW1", "columns"),
    (b"\xff\xff\xff\xff", "columns"),  # a stream of Arrow, as data sets of Hugging Face are saved
)


class Entry(NamedTuple):
    """An entry of an archive: its number, its name, and what the archive says of it, which may be wrong.

    - `version`: 64 bits that change with the content, as far as the archive knows: a checksum or a time.
    - `kind`: FILE, FOLDER, SPECIAL, or LINK.
    - `problem`: why it cannot be read, if known.
    - `url`: where its bytes are, if they are not in the archive.
    """

    number: int
    name: bytes
    size: int
    version: int
    kind: str = FILE
    problem: str = ""
    url: str = ""


class Sink(Protocol):
    """What receives the bytes of entries."""

    def write(self, number: int, data: bytes) -> None:
        """Take the next bytes of an entry. Raises Damaged if the archive exceeds a limit."""

    def end(self, number: int, problem: str = "") -> None:
        """Take the end of an entry, or the reason why it cannot be read."""


class ArchiveFormat(Protocol):
    """An open archive.

    - `has_random_access`: whether one entry is read without those before it.
    - `has_checksums`: whether the versions of its entries are checksums.
    """

    has_random_access: bool
    has_checksums: bool

    def entries(self) -> Iterable[Entry]:
        """Return the entries in the order of the archive."""

    def extract(self, numbers: Set[int], sink: Sink) -> None:
        """Hand some entries to a sink, one after the other, in the order of the archive."""


def open_format(file: IO[bytes], name: bytes) -> ArchiveFormat:
    """Open a file by its first bytes, whatever its extension; text has no such bytes, and is a table if its name says so.

    Raises Damaged for one that is not an archive, Unsupported if its package is not installed, and what packages raise on damaged
    bytes.
    """
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    module = next((name for start, name in _BY_START if head.startswith(start)), None)
    if module is None and head[_TAR_MAGIC_AT:].startswith(_TAR_MAGIC):
        module = "tar"
    if module is None and head and not head.strip(b"\0") and len(head) == _HEAD_BYTES:
        module = "tar"  # an empty one
    if module is None and extension_of(name) in TABLE_EXTENSIONS:
        module = "table"
    if module is None:
        raise Damaged("its bytes are not an archive in a supported format")
    package = {"sevenzip": "7z", "rar": "rar", "columns": "parquet"}.get(module, "zstd" if head.startswith(b"\x28\xb5") else "")
    if not is_installed(package):
        raise Unsupported(f"reading this archive needs an extra package: {install_packages({package})}")
    opened: ArchiveFormat = import_module(f"indexer.sources.archives.formats.{module}").open_archive(file)
    return opened


__all__ = ["ENCRYPTED", "FILE", "FOLDER", "LINK", "SPECIAL", "ArchiveFormat", "Entry", "Sink", "open_format"]
