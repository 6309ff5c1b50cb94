"""Checks of a data set before training: its contents, and what makes measurements on it less reliable."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.errors import UsageError
from indexer.domain.training import Inspection
from models.training.image_cache import ImageRows, write_cache

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Pixels
    from models.training.dataset import LabeledImages
    from models.training.splits import DatasetSplit

_GRID, _HASH_BITS, _NEAR_BITS, _NEAR_CELL = 32, 64, 3, 10

_SEARCHED_TOGETHER = 256
"""Hashes per search: the matches of a search are in memory, up to N for each hash."""


def inspect(images: LabeledImages, division: DatasetSplit | None = None, cache_folder: Path | None = None) -> Inspection:
    """Check a data set, and the division into parts if there is one.

    `cache_folder` is where intermediate results are kept on disk, as in `load_images`. Raises UsageError for fewer than two
    emotions: nothing can be learned from them.
    """
    emotions = [file.emotion for file in images.files]
    if len(set(emotions)) < 2:
        raise UsageError(f"All {len(images)} images are {emotions[0]}: training needs images of at least two emotions.")
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    words: dict[str, Counter[str]] = defaultdict(Counter)
    first: dict[str, str] = {}
    copies = conflicts = 0
    for file in images.files:
        groups[file.source.artist][file.emotion] += 1
        words[file.emotion][file.label] += 1
        if file.digest in first:
            copies += 1
            conflicts += first[file.digest] != file.emotion
        first.setdefault(file.digest, file.emotion)
    part = _parts(division) if division else None
    near = near_conflicts = straddling = 0
    for a, b in near_copies(images.pixels, cache_folder):
        if images.files[a].digest != images.files[b].digest:
            near += 1
            near_conflicts += emotions[a] != emotions[b]
            straddling += part is not None and bool(part[a] != part[b])
    counts = Counter(emotions)
    occurring = [emotion for emotion in images.emotions if counts[emotion]]
    return Inspection(
        len(images),
        {emotion: counts[emotion] for emotion in occurring},
        {group: dict(one) for group, one in sorted(groups.items())},
        {emotion: dict(words[emotion]) for emotion in occurring},
        images.unreadable,
        copies,
        conflicts,
        near,
        near_conflicts,
        straddling,
        _mixed_case(file.label for file in images.files),
    )


def near_copies(images: ImageRows, cache_folder: Path | None = None) -> Iterator[tuple[int, int]]:
    """Yield the row pairs, ascending, of images that look the same: recompressed, resized or retouched.

    Candidates have difference hashes (64 bits, each whether a cell is brighter than its left neighbor) within 3 bits. A pair
    counts if its 32 x 32 gray cells all agree within 10 of 255, so that another mouth makes another image. Costs grow with the
    square of N, at about 10 bytes of memory per image; the gray cells, 4 KB per image, are kept on disk.
    """
    import faiss

    gray = write_cache((_cells(chunk, _GRID) for chunk in images.chunks()), (_GRID, _GRID), np.float32, cache_folder)
    hashes = np.concatenate([_difference_hashes(chunk) for chunk in images.chunks()])
    index = faiss.IndexBinaryFlat(_HASH_BITS)
    index.add(hashes)
    for start in range(0, len(hashes), _SEARCHED_TOGETHER):
        limits, _, others = index.range_search(hashes[start : start + _SEARCHED_TOGETHER], _NEAR_BITS + 1)
        for row, (first, last) in enumerate(pairwise(limits.tolist()), start):
            close = np.sort(others[first:last])
            close = close[close > row]
            if len(close):
                same = np.abs(gray[close] - gray[row]).max(axis=(1, 2)) <= _NEAR_CELL
                yield from ((row, int(other)) for other in close[same])


def _difference_hashes(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """Return the packed difference hashes, uint8, (N, 8), of images, uint8, (N, size, size, 3)."""
    rows = _cells(pixels, 9)[:, :8, :]
    return np.packbits((rows[:, :, 1:] > rows[:, :, :-1] + 2).reshape(len(pixels), -1), axis=1)


def _cells(pixels: Pixels, count: int) -> npt.NDArray[np.float32]:
    """Return the mean brightness, 0-255, of `count` x `count` cells per image: float32, (N, count, count)."""
    edges = np.linspace(0, pixels.shape[1], count + 1).astype(int)
    widths = np.maximum(np.diff(edges), 1)
    columns = np.add.reduceat(pixels.mean(axis=3, dtype=np.float32), edges[:-1], axis=2)
    cells: npt.NDArray[np.float32] = np.add.reduceat(columns, edges[:-1], axis=1) / (widths[:, None] * widths[None, :])
    return cells.astype(np.float32)


def _parts(division: DatasetSplit) -> npt.NDArray[np.int8]:
    """Return the number of the part of each row: 0 training, 1 validation, 2 test."""
    part = np.zeros(len(division.train) + len(division.validation) + len(division.test), dtype=np.int8)
    part[division.validation], part[division.test] = 1, 2
    return part


def _mixed_case(labels: Iterable[str]) -> tuple[str, ...]:
    spelled: dict[str, set[str]] = defaultdict(set)
    for label in labels:
        spelled[label.lower()].add(label)
    return tuple(" and ".join(sorted(each)) for each in spelled.values() if len(each) > 1)
