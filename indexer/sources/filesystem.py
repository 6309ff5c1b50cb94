"""The image source for the file system of this machine."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from indexer.domain.files import FILE_SYSTEM, Failure, FileStamp, changed_ns
from indexer.ports.sources import (
    EXCLUDED,
    EXTENSIONS,
    HIDDEN,
    LINK,
    NO_EXTENSION,
    OTHER_FILE_SYSTEM,
    ScannedFolder,
    ScanOptions,
    Watcher,
)
from indexer.system.exclude_patterns import parse_exclude_patterns
from indexer.system.safe_read import read

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec


_MAX_EXTENSION_LENGTH = 12
"""A longer ending of a name is not an extension."""


class FileSystemSource:
    """Implements `indexer.ports.sources.ImageSource`."""

    name = FILE_SYSTEM

    def exists(self, path: bytes) -> bool:
        return os.path.exists(path)

    def is_folder(self, path: bytes) -> bool:
        return os.path.isdir(path)

    def real_path(self, path: bytes) -> bytes:
        return os.path.realpath(path)

    def scan(self, root: bytes, options: ScanOptions) -> Iterator[ScannedFolder]:
        return scan(root, options)

    def read(self, path: bytes) -> tuple[bytes, FileStamp]:
        return read(path)

    def watch(
        self, roots: Sequence[bytes], own_folder: bytes, poll: float | None, wake: Callable[[], None], warn: Callable[[str], None]
    ) -> AbstractContextManager[Watcher]:
        from indexer.sources.folder_watcher import FolderWatcher

        return FolderWatcher(roots, own_folder, poll, wake, warn, time.monotonic)


def scan(root: bytes, options: ScanOptions) -> Iterator[ScannedFolder]:
    """Scan every folder at or below a root, each before its subfolders. If the root is a file, scan only that file.

    Skips hidden files and folders, links (unless they are followed) and moodex's data folder. A followed link to a folder that
    was visited before is skipped, so that circular links end.
    """
    if not os.path.isdir(root):
        name = os.path.basename(root)
        status = os.stat(root)
        problems = {} if stat.S_ISREG(status.st_mode) else {name: _not_an_image(status)}
        yield ScannedFolder(os.path.dirname(root), ((name, status.st_size, changed_ns(status)),), problems, whole=False)
        return
    yield from _Walk(root, options).folders()


@dataclass(slots=True)
class _Walk:
    root: bytes
    options: ScanOptions
    excluded: GitIgnoreSpec = field(init=False)
    own_folder: tuple[int, int] | None = field(init=False)
    visited: set[tuple[int, int]] = field(default_factory=set)
    device: int | None = field(init=False)
    """The file system of the root, if the scan stays on it; else None."""

    def __post_init__(self) -> None:
        self.excluded = parse_exclude_patterns(self.options.exclude)
        self.device = _device(self.root) if self.options.one_file_system else None
        self.own_folder = _identity(self.options.own_folder) if self.options.own_folder else None

    def folders(self) -> Iterator[ScannedFolder]:
        stack = [self.root]
        while stack:
            folder = stack.pop()
            if not self._enter(folder):
                continue
            scanned, subfolders = self._list(folder)
            yield scanned
            stack.extend(reversed(subfolders))

    def _enter(self, folder: bytes) -> bool:
        if self.own_folder is None and not self.options.follow_symlinks:
            return True
        identity = _identity(folder)
        if identity is None:
            return True  # listing the folder will report the error
        if identity == self.own_folder or identity in self.visited:
            return False
        if self.options.follow_symlinks:
            self.visited.add(identity)
        return True

    def _list(self, folder: bytes) -> tuple[ScannedFolder, list[bytes]]:
        files: list[tuple[bytes, int, int]] = []
        subfolders: list[bytes] = []
        problems: dict[bytes, Failure] = {}
        skipped: list[tuple[bytes, str]] = []
        follow = self.options.follow_symlinks
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith(b"."):
                        skipped.append((name, HIDDEN))
                        continue
                    if not follow and entry.is_symlink():
                        skipped.append((name, LINK))
                        continue
                    is_folder = _is_folder(entry, follow)
                    if self.options.exclude and self._is_excluded(entry.path, is_folder):
                        skipped.append((name, EXCLUDED))
                        continue
                    if is_folder and self.device is not None and _device(entry.path) != self.device:
                        skipped.append((name, OTHER_FILE_SYSTEM))
                        continue
                    if is_folder:
                        subfolders.append(entry.path)
                    if name[name.rfind(b".") :].lower() not in EXTENSIONS:
                        if not is_folder:
                            skipped.append((name, _kind(name)))
                        continue
                    try:
                        status = entry.stat(follow_symlinks=follow)
                    except OSError as error:
                        files.append((name, 0, 0))
                        problems[name] = _failure(f"its status cannot be read: {error.strerror}")
                        continue
                    if stat.S_ISREG(status.st_mode):
                        files.append((name, status.st_size, changed_ns(status)))
                    else:
                        files.append((name, 0, 0))
                        problems[name] = _not_an_image(status)
        except OSError as error:
            return ScannedFolder(folder, problem=_failure(f"the folder cannot be listed: {error.strerror}")), []
        scanned = ScannedFolder(folder, tuple(sorted(files)), problems, skipped=tuple(sorted(skipped)))
        return scanned, sorted(subfolders)

    def _is_excluded(self, path: bytes, is_folder: bool) -> bool:
        relative = os.fsdecode(os.path.relpath(path, self.root))
        return self.excluded.match_file(relative + "/" if is_folder else relative)


def _kind(name: bytes) -> str:
    """Return the kind of a file without an image extension."""
    extension = os.fsdecode(name[name.rfind(b".") :].lower()) if b"." in name else ""
    return extension if 1 < len(extension) <= _MAX_EXTENSION_LENGTH and extension.isprintable() else NO_EXTENSION


def _is_folder(entry: os.DirEntry[bytes], follow: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:  # for example a link to itself; if it has an image extension, _list reports the error
        return False


def _not_an_image(status: os.stat_result) -> Failure:
    """Return why a path with an image extension is not an image.

    Its size and time are not used, because those of a folder change with its content.
    """
    kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
    return Failure("damaged", f"it is {kind}, not an image")


def _failure(reason: str) -> Failure:
    return Failure("unreadable", reason)


def _device(folder: bytes) -> int | None:
    identity = _identity(folder)
    return None if identity is None else identity[0]


def _identity(folder: bytes) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino
