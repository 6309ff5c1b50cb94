"""A cache file for decoded images, which is memory-mapped and read by row.

500,000 images of 128 x 128 pixels take 24.6 GB, so they are on disk and not in memory. The operating system keeps as much of the
file in its page cache as fits the memory that programs do not need.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from indexer.domain.errors import MoodexError

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Ids, Pixels

_WRITE_BUFFER_BYTES = 1 << 20
_CHUNK_BYTES = 16 << 20
"""Pixels that `ImageRows.chunks` reads at once."""

_DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ImageRows:
    """N images of one size in a larger array. An index reads images; a selection of rows copies no pixels."""

    def __init__(self, images: Pixels, rows: npt.ArrayLike | None = None) -> None:
        """`images` is uint8, (M, S, S, 3), perhaps memory-mapped; `rows` are N positions in it, or None for all."""
        self._images = images
        self._rows: Ids = np.arange(len(images)) if rows is None else np.asarray(rows, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, S, S, 3)."""
        return (len(self), *self._images.shape[1:])

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """uint8."""
        return self._images.dtype

    def __getitem__(self, rows: slice | npt.NDArray[Any]) -> Pixels:
        """Read K images into memory: uint8, (K, S, S, 3), a copy."""
        pixels: Pixels = self._images[self._rows[rows]]
        return pixels

    def take(self, rows: npt.ArrayLike) -> ImageRows:
        """Return the images in the given rows, in that order. Reads no pixels."""
        return ImageRows(self._images, self._rows[np.asarray(rows, dtype=np.int64)])

    def chunks(self, multiple: int = 1) -> Iterator[Pixels]:
        """Read all images in order, in chunks of about 16 MB: uint8, (K, S, S, 3).

        K is a multiple of `multiple`, except in the last chunk.
        """
        image_bytes = int(np.prod(self._images.shape[1:]))
        size = multiple * max(1, _CHUNK_BYTES // (image_bytes * multiple))
        for start in range(0, len(self), size):
            yield self[start : start + size]


def write_cache(
    arrays: Iterable[npt.NDArray[Any]], shape: tuple[int, ...], dtype: npt.DTypeLike, folder: Path | None = None
) -> npt.NDArray[Any]:
    """Write arrays one after another to a temporary file, and map it into memory.

    - `arrays`: of `dtype`, each of the shape `shape` or (K, *shape).
    - `folder`: folder of the file, or the nearest folder above it that exists; None takes the system's folder for temporary
      files.

    Returns a read-only array of `dtype`, (N, *shape). The system deletes the file with the array, and also after a crash if it
    supports files without names. The file is written before it is mapped, so that a full disk raises an error and not SIGBUS.
    Raises MoodexError if the file cannot be written.
    """
    cache_folder = nearest_folder(folder) if folder else Path(gettempdir())
    row_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    written = 0
    try:
        with TemporaryFile(prefix=".moodex-cache-", dir=cache_folder, buffering=_WRITE_BUFFER_BYTES) as file:
            for array in arrays:
                written += file.write(np.ascontiguousarray(array, dtype=dtype).data)
            file.flush()
            if not written:
                return np.empty((0, *shape), dtype=dtype)
            mapped = np.memmap(file, dtype=dtype, mode="r", shape=(written // row_bytes, *shape))
    except OSError as error:
        raise _cannot_write(cache_folder, written, error, is_default=folder is None) from error
    return cast("npt.NDArray[Any]", mapped.view(np.ndarray))


def nearest_folder(path: Path) -> Path:
    """Return the path if it is a folder, or else the nearest folder above it that exists."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())


def _cannot_write(folder: Path, written: int, error: OSError, *, is_default: bool) -> MoodexError:
    """Return the error for a cache that cannot be written, after `written` bytes."""
    remedy = "set TMPDIR to another folder" if is_default else "choose another folder"
    if error.errno in _DISK_FULL_ERRNOS:
        return MoodexError(
            f"The image cache in {folder} cannot be written: the disk is full after {written / 1e9:.1f} GB. "
            f"Make room, or {remedy}."
        )
    return MoodexError(
        f"The image cache in {folder} cannot be written: {error.strerror or error}. Check the folder, or {remedy}."
    )
