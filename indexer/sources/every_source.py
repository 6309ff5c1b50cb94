"""All image sources as one: the form of a path tells which of them has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.sources.filesystem import FileSystemSource
from indexer.system.paths import object_url

if TYPE_CHECKING:
    from indexer.domain.files import FileStamp
    from indexer.ports.sources import ImageSource, ScannedFolder, ScanOptions, SourceFile, Watcher


class EverySource:
    """Implements `indexer.ports.sources.ImageSource` for the file system and, for addresses such as s3://BUCKET/KEY, buckets."""

    def __init__(self, archive_contents: Path | None = None) -> None:
        self._files = FileSystemSource(archive_contents)
        self._objects: ImageSource | None = None

    def _of(self, path: bytes) -> ImageSource:
        if object_url(path) is None:
            return self._files
        if self._objects is None:
            from indexer.sources.objects import ObjectSource

            self._objects = ObjectSource()
        return self._objects

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
