"""The image source for servers: buckets of object storage and web servers, with their archives as folders."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from indexer.domain.errors import Unreadable
from indexer.domain.files import Failure, FileStamp
from indexer.ports.sources import ScannedFolder, ScanOptions, SourceFile, Watcher
from indexer.sources.archives.archives import Archives, FileStatus
from indexer.sources.archives.packages import is_readable_archive
from indexer.sources.entries import InnerFolder
from indexer.sources.remote.inventory import open_inventory
from indexer.sources.remote.listings import Listings
from indexer.sources.remote.server import Denied, RemoteFile, has_image_name, read_all
from indexer.sources.remote.servers import open_server, server_of
from indexer.sources.walk import MAX_IGNORE_FILE_BYTES, Walk
from indexer.system.addresses import remote_address

REMOTE = "object"
"""The name of this source."""

_SILENT_SECONDS = 60.0
"""After a server did not answer, files on it count as present for a minute: a search with many hits asks for each of them."""


class RemoteSource:
    """Implements `indexer.ports.sources.ImageSource`.

    A server that denies access, or does not answer, is a problem of the scan; nothing on it counts as missing. An inventory, by
    its address or path, replaces the listing of its bucket.
    """

    def __init__(self, archive_contents: Path | None = None, reaches_private: bool = False, inventory: str | None = None) -> None:
        self._archives = Archives(archive_contents, _archive_status, reaches_private)
        self._inventory = inventory
        self._silent_until: dict[bytes, float] = {}

    def name_of(self, path: bytes) -> str:
        return REMOTE

    def exists(self, path: bytes) -> bool:
        path = self.real_path(path)
        return self.is_folder(path) or self.has_file(path)

    def is_folder(self, path: bytes) -> bool:
        path = self.real_path(path)
        try:
            if self._archives.locate(path) is not None:
                return self._archives.is_folder(path)
            return open_server(path).is_folder(path)
        except FileNotFoundError:
            return False
        except Unreadable:  # nothing is known: the name tells what it probably is
            return not has_image_name(path)

    def has_file(self, path: bytes) -> bool:
        path = self.real_path(path)
        server = server_of(path)
        if time.monotonic() < self._silent_until.get(server, 0.0):
            return True
        try:
            place = self._archives.locate(path)
            if place is not None:
                return not place.inner or self._archives.has_file(path)
            open_server(path).status(path)
        except FileNotFoundError:
            return False
        except Denied:
            return True  # nothing is known to be missing
        except Unreadable:
            self._silent_until[server] = time.monotonic() + _SILENT_SECONDS
        return True

    def real_path(self, path: bytes) -> bytes:
        return remote_address(path) or path

    def scan(self, root: bytes, options: ScanOptions) -> Iterator[ScannedFolder]:
        root = self.real_path(root)
        try:
            single = self._single(root)
            list_folder = self._list(root)
        except Unreadable as error:
            yield ScannedFolder(os.path.dirname(root), whole=False, problem=Failure(error.kind, str(error)))
            return
        if single is not None:
            yield single
            return
        with closing(Listings(list_folder)) as listings:
            yield from Walk(root, options, lambda path: self._folder(path, listings), _read_ignore_file).folders()

    def read(self, path: bytes) -> tuple[bytes, FileStamp]:
        path = self.real_path(path)
        place = self._archives.locate(path)
        if place is not None and place.inner:
            return self._archives.read(place)
        data, file = read_all(open_server(path), path)
        return data, file.stamp

    def open(self, path: bytes) -> SourceFile:
        path = self.real_path(path)
        place = self._archives.locate(path)
        if place is not None and place.inner:
            data, stamp = self._archives.read(place)
            return SourceFile(BytesIO(data), stamp, place.modified_ns)
        data, file = read_all(open_server(path), path)
        return SourceFile(BytesIO(data), file.stamp, file.modified_ns)

    def stamp(self, path: bytes) -> FileStamp:
        path = self.real_path(path)
        place = self._archives.locate(path)
        if place is not None and place.inner:
            return self._archives.member(place).stamp
        return open_server(path).status(path).stamp

    def local_path(self, path: bytes) -> bytes | None:
        return None

    def watch(
        self, roots: Sequence[bytes], own_folder: bytes, poll: float | None, wake: Callable[[], None], warn: Callable[[str], None]
    ) -> AbstractContextManager[Watcher]:
        from indexer.sources.folder_watcher import FolderWatcher

        return FolderWatcher(roots, own_folder, poll, wake, warn, time.monotonic)

    def _single(self, root: bytes) -> ScannedFolder | None:
        """Scan a file that a user named; return None for a folder. Raises Unreadable if that is unknown."""
        try:
            if self._archives.locate(root) is not None:
                return None if self._archives.is_folder(root) else self._archives.scan_member(root)
            return _scanned_file(root, open_server(root).status(root))
        except FileNotFoundError:
            return None
        except Unreadable:
            if has_image_name(root):
                raise
            return None  # its listing will tell

    def _list(self, root: bytes) -> Callable[[bytes], InnerFolder]:
        """Return what lists folders at or below a root: its inventory or its server."""
        if self._inventory is not None:
            inventory = open_inventory(self._inventory)
            if inventory.has(root):
                return inventory.listing
        return lambda folder: open_server(folder).listing(folder)

    def _folder(self, path: bytes, listings: Listings) -> InnerFolder | None:
        """Return what is in a folder or an archive. Raises ImageError, and FileNotFoundError."""
        if self._archives.locate(path) is not None:
            inside = self._archives.folder(path)
            if inside is None:
                raise Unreadable("it vanished during the scan")
            return inside
        listed = listings.take(path)
        archives = {name for name in listed.files if is_readable_archive(name)}
        files = {name: member for name, member in listed.files.items() if name not in archives}
        listings.prepare(os.path.join(path, name) for name in sorted(listed.subfolders))
        return replace(listed, files=files, subfolders=listed.subfolders | archives)


def _scanned_file(path: bytes, file: RemoteFile) -> ScannedFolder:
    folder, name = os.path.split(path)
    return ScannedFolder(folder, ((name, file.stamp.size, file.stamp.version),), whole=False)


def _archive_status(path: bytes) -> FileStatus | None:
    try:
        file = open_server(path).status(path)
    except FileNotFoundError:
        return None
    return FileStatus(file.stamp, file.modified_ns)


def _read_ignore_file(path: bytes) -> bytes:
    data, _ = read_all(open_server(path), path)
    if len(data) > MAX_IGNORE_FILE_BYTES:
        raise ValueError("it is too large")
    return data
