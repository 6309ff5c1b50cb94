"""Thumbnails of indexed images, in a folder of bounded size."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.errors import ImageError
from indexer.imaging.thumbnail import isolated_thumbnail
from indexer.search.pictures import changed_file
from indexer.system.safe_read import read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from indexer.domain.files import FileStamp
    from indexer.imaging.decoder_pool import DecoderPool
    from indexer.ports.store_reader import ImageFile


class Side(IntEnum):
    """The sizes of thumbnails: the longer side in pixels."""

    SMALL = 128
    MEDIUM = 256
    LARGE = 512


MEDIA_TYPE = "image/webp"

_MAX_FOLDER_BYTES = 512 << 20
_KEPT_SHARE = 0.8
"""Share of the limit that stays when the folder is full; the thumbnails that were made first are deleted."""

_SUFFIX = ".webp"


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    size: int
    made_at: float


class Thumbnails:
    """A cache of thumbnails as WebP, which child processes decode. Thread-safe.

    A thumbnail belongs to the bytes of an image, so that it is never out of date.
    """

    def __init__(
        self,
        folder: Path,
        decoders: DecoderPool,
        read: Callable[[bytes], tuple[bytes, FileStamp]] = read,
        max_bytes: int = _MAX_FOLDER_BYTES,
    ) -> None:
        """Keep thumbnails in a folder; `read` reads the files of images, as `ImageSource.read` does."""
        self._folder, self._decoders, self._read, self._max_bytes = folder, decoders, read, max_bytes
        self._lock = threading.Lock()
        self._bytes: int | None = None

    def kept(self, image_id: str, side: int) -> bytes | None:
        """Return a thumbnail that was made before; None if there is none."""
        try:
            data = self._path(image_id, side).read_bytes()
        except OSError:
            return None
        return data or None  # a power cut may leave an empty file

    def make(self, image_id: str, side: int, files: Sequence[ImageFile]) -> bytes:
        """Make and keep a thumbnail from the first of an image's files that still has its bytes.

        `side` is the longer side in pixels; smaller images keep their size. Raises ImageError if no file can be used.
        """
        for file in files:
            with suppress(OSError, ImageError):
                data = self._read(file.path)[0]
                thumbnail, digest = isolated_thumbnail(data, side, self._decoders)
                if digest.hex() == image_id:
                    self._keep(self._path(image_id, side), thumbnail)
                    return thumbnail
        raise changed_file()

    def _path(self, image_id: str, side: int) -> Path:
        return self._folder / image_id[:2] / f"{image_id}-{int(side)}{_SUFFIX}"

    def _keep(self, path: Path, data: bytes) -> None:
        """Write a thumbnail. A full or read-only disk costs only time."""
        temporary = path.with_name(f".{path.name}.{threading.get_ident()}.tmp")
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_bytes(data)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            with self._lock:
                self._bytes = (sum(one.size for one in self._entries()) if self._bytes is None else self._bytes) + len(data)
                if self._bytes > self._max_bytes:
                    self._bytes = self._sweep()

    def _sweep(self) -> int:
        """Delete the thumbnails that were made first; return the size of those that stay."""
        entries = sorted(self._entries(), key=lambda one: one.made_at)
        size = sum(one.size for one in entries)
        for entry in entries:
            if size <= self._max_bytes * _KEPT_SHARE:
                break
            entry.path.unlink(missing_ok=True)
            size -= entry.size
        return size

    def _entries(self) -> list[_Entry]:
        entries = []
        for path in self._folder.glob(f"*/*{_SUFFIX}"):
            with suppress(OSError):
                status = os.stat(path)
                entries.append(_Entry(path, status.st_size, status.st_mtime))
        return entries
