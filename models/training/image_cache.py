"""Decoded images on disk instead of in memory: a memory-mapped cache file, and rows of it that are read by index.

500,000 images of 128 x 128 pixels take 24.6 GB. The operating system keeps as much of the cache file in its page cache as there
is room for, and drops it when programs need the memory.
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
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ImageRows:
    """N images of one size, read from a larger array when they are indexed. Selecting rows copies no pixels."""

    def __init__(self, images: Pixels, rows: npt.ArrayLike | None = None) -> None:
        """`images` is uint8, (M, S, S, 3), perhaps memory-mapped; `rows` are positions in it, (N,), or None for all."""
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

    def __getitem__(self, chosen: slice | npt.NDArray[Any]) -> Pixels:
        """Read some images into memory: uint8, (K, S, S, 3), a copy."""
        pixels: Pixels = self._images[self._rows[chosen]]
        return pixels

    def take(self, rows: npt.ArrayLike) -> ImageRows:
        """Return the images of some rows, (K,), in that order, without reading them."""
        return ImageRows(self._images, self._rows[np.asarray(rows, dtype=np.int64)])

    def chunks(self, multiple: int = 1) -> Iterator[Pixels]:
        """Read all images in order, about 16 MB at a time; the size of every chunk but the last is a multiple of `multiple`."""
        image_bytes = int(np.prod(self._images.shape[1:]))
        size = multiple * max(1, _CHUNK_BYTES // (image_bytes * multiple))
        for start in range(0, len(self), size):
            yield self[start : start + size]


def write_cache(
    arrays: Iterable[npt.NDArray[Any]], shape: tuple[int, ...], dtype: npt.DTypeLike, folder: Path | None = None
) -> npt.NDArray[Any]:
    """Write arrays one after another to a temporary file, and map it: `dtype`, (rows, *shape), read-only.

    - `arrays` are of `dtype`, each `shape` or (K, *shape).
    - `folder` is where the file is made, in the nearest folder that exists; None takes the system's folder for temporary files.

    The file has no name where the system can do that, and is deleted with the array, also after a crash. It is written, not
    mapped, so that a full disk is an error and not a SIGBUS. Raises MoodexError if it cannot be written.
    """
    place = nearest_folder(folder) if folder else Path(gettempdir())
    row_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    written = 0
    try:
        with TemporaryFile(prefix=".moodex-cache-", dir=place, buffering=_WRITE_BUFFER_BYTES) as file:
            for array in arrays:
                written += file.write(np.ascontiguousarray(array, dtype=dtype).data)
            file.flush()
            if not written:
                return np.empty((0, *shape), dtype=dtype)
            mapped = np.memmap(file, dtype=dtype, mode="r", shape=(written // row_bytes, *shape))
    except OSError as error:
        raise _cannot_write(place, written, error, is_default=folder is None) from error
    return cast("npt.NDArray[Any]", mapped.view(np.ndarray))


def nearest_folder(path: Path) -> Path:
    """Return the path if it is a folder, or else the nearest folder above it that exists."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())


def _cannot_write(place: Path, written: int, error: OSError, *, is_default: bool) -> MoodexError:
    choice = "set TMPDIR to another folder" if is_default else "choose another folder"
    if error.errno in _DISK_FULL:
        return MoodexError(
            f"The image cache in {place} cannot be written: the disk is full after {written / 1e9:.1f} GB. "
            f"Make room, or {choice}."
        )
    return MoodexError(f"The image cache in {place} cannot be written: {error.strerror or error}. Check it, or {choice}.")
