"""Where images come from, and the records that cross that line."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

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


class Watcher(Protocol):
    """Notices changes below folders, from the moment on when it is `ready`."""

    @property
    def ready(self) -> bool:
        """Whether changes are noticed by now."""

    def changed(self) -> set[bytes]:
        """Return the roots below which something changed since the last call."""

    def wait(self) -> float:
        """Return the seconds after which `changed` should be called again, if nothing wakes the caller before."""


class ImageSource(Protocol):
    """Where image files lie: they are scanned, read and watched there.

    A file is a path in a source. Paths are bytes, absolute and real; no two sources share one. What a file's stamp is made of is
    the business of its source: two stamps are compared, and never read.
    """

    @property
    def name(self) -> str:
        """The name of the source, which the store keeps with each folder."""

    def exists(self, path: bytes) -> bool:
        """Return whether there is a file or folder."""

    def is_folder(self, path: bytes) -> bool:
        """Return whether there is a folder."""

    def real_path(self, path: bytes) -> bytes:
        """Return the absolute path of a file or folder, links resolved."""

    def scan(self, root: bytes, options: ScanOptions) -> Iterator[ScannedFolder]:
        """List every folder under a root, a folder before its subfolders; for a root that is a file, that file alone."""

    def read(self, path: bytes) -> tuple[bytes, FileStamp]:
        """Read a file and its stamp. Raises FileNotFoundError, Unreadable (worth another try) and Damaged."""

    def watch(
        self, roots: Sequence[bytes], own_folder: bytes, poll: float | None, wake: Callable[[], None], warn: Callable[[str], None]
    ) -> AbstractContextManager[Watcher]:
        """Notice changes below roots, but not in the program's own folder, inside a `with` block.

        `poll`: look every so many seconds instead of listening to the system. `wake` is called, from another thread, when
        something changed; `warn` with a sentence if the system cannot be listened to.
        """
