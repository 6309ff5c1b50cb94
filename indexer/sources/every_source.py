"""All image sources as one: the form of a path tells which of them has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.sources.filesystem import FileSystemSource
from indexer.system.addresses import remote_address

if TYPE_CHECKING:
    from indexer.domain.files import FileStamp
    from indexer.ports.sources import ImageSource, ScannedFolder, ScanOptions, SourceFile, Watcher


class EverySource:
    """Implements `indexer.ports.sources.ImageSource` for the file system and, for addresses such as s3://BUCKET/KEY, servers.

    - `archive_contents`: the folder where the contents of archives are kept, if there is one.
    - `reaches_private`: whether tables of URLs may name addresses in private networks.
    - `inventory`: the manifest of an S3 Inventory, which replaces the listing of its bucket.
    """

    def __init__(self, archive_contents: Path | None = None, reaches_private: bool = False, inventory: str | None = None) -> None:
        self._files = FileSystemSource(archive_contents, reaches_private)
        self._open_remote = partial(_open_remote, archive_contents, reaches_private, inventory)

    @cached_property
    def _remote(self) -> ImageSource:
        return self._open_remote()

    def _of(self, path: bytes) -> ImageSource:
        return self._files if remote_address(path) is None else self._remote

    def name_of(self, path: bytes) -> str:
        return self._of(path).name_of(path)

    def exists(self, path: bytes) -> bool:
        return self._of(path).exists(path)

    def is_folder(self, path: bytes) -> bool:
        return self._of(path).is_folder(path)

    def has_file(self, path: bytes) -> bool:
        return self._of(path).has_file(path)

    def real_path(self, path: bytes) -> bytes:
        return self._of(path).real_path(path)

    def scan(self, root: bytes, options: ScanOptions) -> Iterator[ScannedFolder]:
        return self._of(root).scan(root, options)

    def read(self, path: bytes) -> tuple[bytes, FileStamp]:
        return self._of(path).read(path)

    def open(self, path: bytes) -> SourceFile:
        return self._of(path).open(path)

    def stamp(self, path: bytes) -> FileStamp:
        return self._of(path).stamp(path)

    def local_path(self, path: bytes) -> bytes | None:
        return self._of(path).local_path(path)

    def watch(
        self, roots: Sequence[bytes], own_folder: bytes, poll: float | None, wake: Callable[[], None], warn: Callable[[str], None]
    ) -> AbstractContextManager[Watcher]:
        return self._files.watch(roots, own_folder, poll, wake, warn)  # it polls addresses


def _open_remote(archive_contents: Path | None, reaches_private: bool, inventory: str | None) -> ImageSource:
    from indexer.sources.remote.source import RemoteSource

    return RemoteSource(archive_contents, reaches_private, inventory)
