"""Folders to stamps: which picture files lie under a root, and what they look like from outside. Opens no file."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from pathspec import GitIgnoreSpec

from indexer.domain.errors import UsageError
from indexer.domain.models import Failure, FileStamp, changed_ns

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


def normalize_roots(paths: Sequence[bytes]) -> list[bytes]:
    """Absolute real paths, each once, none inside another. Raises UsageError where one does not exist."""
    for path in paths:
        if not os.path.exists(path):
            raise UsageError(f"{os.fsdecode(path)!r} does not exist; nothing was indexed.")
    roots: list[bytes] = []
    for root in sorted({os.path.realpath(path) for path in paths}):
        if not any(is_under(root, kept) for kept in roots):
            roots.append(root)
    return roots


def split_available_roots(paths: Sequence[bytes], is_known: Callable[[bytes], bool]) -> tuple[list[bytes], list[bytes]]:
    """Split normalized roots into those that exist and those that are missing but known (their disk may not be mounted)."""
    missing = {path: os.path.realpath(path) for path in paths if not os.path.exists(path)}
    away = {path for path, root in missing.items() if is_known(root)}
    roots = normalize_roots([path for path in paths if path not in away])
    apart: list[bytes] = []
    for root in sorted({missing[path] for path in away}):
        if not any(is_under(root, kept) for kept in [*roots, *apart]):
            apart.append(root)
    return roots, apart


def is_under(path: bytes, folder: bytes) -> bool:
    """Whether `path` is `folder` or lies below it; both absolute."""
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def scan(root: bytes, options: ScanOptions) -> Iterator[ScannedFolder]:
    """Every folder under a root, a folder before its subfolders; for a root that is a file, that file alone.

    Hidden files and folders, links (unless followed) and the program's own data folder are passed over. Links that lead round in
    circles are followed once.
    """
    if not os.path.isdir(root):
        name = os.path.basename(root)
        status = os.stat(root)
        problems = {} if stat.S_ISREG(status.st_mode) else {name: _odd(status)}
        yield ScannedFolder(os.path.dirname(root), ((name, status.st_size, changed_ns(status)),), problems, whole=False)
        return
    yield from _Walk(root, options).folders()


@dataclass(slots=True)
class _Walk:
    root: bytes
    options: ScanOptions
    excluded: GitIgnoreSpec = field(init=False)
    own: tuple[int, int] | None = field(init=False)
    visited: set[tuple[int, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.excluded = GitIgnoreSpec.from_lines(self.options.exclude)
        self.own = _identity(self.options.own_folder) if self.options.own_folder else None

    def folders(self) -> Iterator[ScannedFolder]:
        waiting = [self.root]
        while waiting:
            folder = waiting.pop()
            if not self._enter(folder):
                continue
            scanned, subfolders = self._list(folder)
            yield scanned
            waiting.extend(reversed(subfolders))

    def _enter(self, folder: bytes) -> bool:
        if self.own is None and not self.options.follow_symlinks:
            return True
        identity = _identity(folder)
        if identity is None:
            return True  # listing it will say what is wrong
        if identity == self.own or identity in self.visited:
            return False
        if self.options.follow_symlinks:
            self.visited.add(identity)
        return True

    def _list(self, folder: bytes) -> tuple[ScannedFolder, list[bytes]]:
        files: list[tuple[bytes, int, int]] = []
        subfolders: list[bytes] = []
        problems: dict[bytes, Failure] = {}
        follow = self.options.follow_symlinks
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith(b".") or (not follow and entry.is_symlink()):
                        continue
                    is_folder = _is_folder(entry, follow)
                    if self.options.exclude and self._is_excluded(entry.path, is_folder):
                        continue
                    if is_folder:
                        subfolders.append(entry.path)
                    if name[name.rfind(b".") :].lower() not in EXTENSIONS:
                        continue
                    try:
                        status = entry.stat(follow_symlinks=follow)
                    except OSError as error:
                        files.append((name, 0, 0))
                        problems[name] = _failure(f"it cannot be looked at: {error.strerror}")
                        continue
                    if stat.S_ISREG(status.st_mode):
                        files.append((name, status.st_size, changed_ns(status)))
                    else:
                        files.append((name, 0, 0))
                        problems[name] = _odd(status)
        except OSError as error:
            return ScannedFolder(folder, problem=_failure(f"the folder cannot be listed: {error.strerror}")), []
        return ScannedFolder(folder, tuple(sorted(files)), problems), sorted(subfolders)

    def _is_excluded(self, path: bytes, is_folder: bool) -> bool:
        relative = os.fsdecode(os.path.relpath(path, self.root))
        return self.excluded.match_file(relative + "/" if is_folder else relative)


def _is_folder(entry: os.DirEntry[bytes], follow: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:  # a link to itself, say; if it is called like a picture, _look tells what is wrong with it
        return False


def _odd(status: os.stat_result) -> Failure:
    """Why what is called like a picture is none. Its size and time say nothing, as a folder's change with its content."""
    kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
    return Failure("damaged", f"it is {kind}, not a picture")


def _failure(reason: str) -> Failure:
    return Failure("unreadable", reason)


def _identity(folder: bytes) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino
