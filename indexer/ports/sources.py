"""Where images come from, and the records that cross that line."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from indexer.domain.files import Failure, FileStamp

EXTENSIONS: frozenset[bytes] = frozenset(
    b".jpg .jpeg .jpe .jfif .png .apng .webp .gif .bmp .dib .tif .tiff .avif .avifs .heic .heif".split()
)
"""What a file is called when it is taken for a picture."""


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A file that is a picture by its name. `problem` says why it cannot be one."""

    name: bytes
    stamp: FileStamp
    problem: Failure | None = None


@dataclass(frozen=True, slots=True)
class ScannedFolder:
    """The picture files directly in one folder.

    `entries` are their names, sizes in bytes and times of change in nanoseconds, by name: plain tuples, for there is one for
    every file on every run; `problems` says, by name, why some are no pictures. `whole` is False where only some of it was
    looked at, so that a name that is not here may still exist. `problem` says why it could not be listed; then nothing is
    known of what lies below it.
    """

    path: bytes
    entries: tuple[tuple[bytes, int, int], ...] = ()
    problems: Mapping[bytes, Failure] = field(default_factory=dict)
    whole: bool = True
    problem: Failure | None = None

    @property
    def files(self) -> tuple[ScannedFile, ...]:
        """The same with their stamps and problems."""
        return tuple(ScannedFile(name, FileStamp(size, time), self.problems.get(name)) for name, size, time in self.entries)

    def listing(self) -> bytes:
        """A digest of all entries: two scans with the same one saw the same."""
        names, sizes, times = zip(*self.entries, strict=True) if self.entries else ((), (), ())
        return blake2b(b"/".join(names) + b"//" + array("q", sizes + times).tobytes(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """What a scan passes over. `exclude` are gitignore patterns below the root, `own_folder` is the program's data folder."""

    exclude: tuple[str, ...] = ()
    follow_symlinks: bool = False
    own_folder: bytes | None = None
