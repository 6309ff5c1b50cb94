"""The image source for the file system of this machine, with its archives as folders."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path

from indexer.domain.files import FILE_SYSTEM, FileStamp, stamp_of
from indexer.ports.sources import (
    ScannedFolder,
    ScanOptions,
    SourceFile,
    Watcher,
)
from indexer.sources.archives.archives import Archives
from indexer.sources.walk import Walk, not_an_image, scanned_entry, unreadable
from indexer.system.paths import existing_form
from indexer.system.safe_read import open_regular, read, read_stamp


class FileSystemSource:
    """Implements `indexer.ports.sources.ImageSource`. The contents of archives are kept in a folder, if there is one."""

    def __init__(self, archive_contents: Path | None = None, reaches_private: bool = False) -> None:
        """`reaches_private` is whether the images of tables of URLs may be in private networks."""
        self._archives = Archives(archive_contents, reaches_private=reaches_private)

    def name_of(self, path: bytes) -> str:
        return FILE_SYSTEM

    def exists(self, path: bytes) -> bool:
        return os.path.exists(existing_form(path)) or self._archives.is_folder(path) or self._archives.has_file(path)

    def is_folder(self, path: bytes) -> bool:
        return os.path.isdir(path) or self._archives.is_folder(path)

    def has_file(self, path: bytes) -> bool:
        return (os.path.lexists(path) and not os.path.isdir(path)) or self._archives.has_file(path)

    def real_path(self, path: bytes) -> bytes:
        return os.path.realpath(existing_form(path))

    def scan(self, root: bytes, options: ScanOptions) -> Iterator[ScannedFolder]:
        return scan(root, options, self._archives)

    def read(self, path: bytes) -> tuple[bytes, FileStamp]:
        place = self._archives.locate(path)
        return read(path) if place is None or not place.inner else self._archives.read(place)

    def open(self, path: bytes) -> SourceFile:
        place = self._archives.locate(path)
        if place is None or not place.inner:
            file, status = open_regular(path)
            return SourceFile(file, stamp_of(status), status.st_mtime_ns)
        data, stamp = self._archives.read(place)
        return SourceFile(BytesIO(data), stamp, place.modified_ns)

    def stamp(self, path: bytes) -> FileStamp:
        place = self._archives.locate(path)
        return read_stamp(path) if place is None or not place.inner else self._archives.member(place).stamp

    def local_path(self, path: bytes) -> bytes | None:
        return path if os.path.isfile(path) else None

    def watch(
        self, roots: Sequence[bytes], own_folder: bytes, poll: float | None, wake: Callable[[], None], warn: Callable[[str], None]
    ) -> AbstractContextManager[Watcher]:
        from indexer.sources.folder_watcher import FolderWatcher

        return FolderWatcher(roots, own_folder, poll, wake, warn, time.monotonic)


def scan(root: bytes, options: ScanOptions, archives: Archives) -> Iterator[ScannedFolder]:
    """Scan every folder at or below a root, each before its subfolders. If the root is a file, scan only that file.

    Archives are folders. Skips hidden files and folders, those that systems use, links (unless they are followed), what patterns
    and ignore files leave out, and moodex's data folder. A followed link to a folder that was visited before is skipped, so that
    circular links end.
    """
    if os.path.isdir(root) or archives.is_folder(root):
        yield from Walk(root, options, archives.folder).folders()
    elif archives.locate(root) is None:
        yield _single_file(root)
    else:
        yield archives.scan_member(root)


def _single_file(path: bytes) -> ScannedFolder:
    folder, name = os.path.split(path)
    try:
        status = os.stat(path)
    except OSError as error:
        problem = unreadable(f"its status cannot be read: {error.strerror}")
        return ScannedFolder(folder, ((name, 0, 0),), {name: problem}, whole=False)
    problems = {} if stat.S_ISREG(status.st_mode) else {name: not_an_image()}
    return ScannedFolder(folder, (scanned_entry(name, status),), problems, whole=False)
