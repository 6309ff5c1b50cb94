"""Checks of a data set before training: its contents, and problems that make measurements on it less reliable."""

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

_GRID = 32
"""Gray cells per side of an image."""

_HASH_BITS = 64
_MAX_HASH_DISTANCE = 3
"""Different bits of the hashes of near-duplicates."""

_MAX_CELL_DIFFERENCE = 10
"""Difference between the cells of near-duplicates, in brightness 0-255."""

_MIN_HASH_DIFFERENCE = 2
"""Brightness, 0-255, by which a cell must exceed its left neighbor to set a bit of the hash."""

_HASHES_PER_SEARCH = 256
"""The matches of one search are in memory, up to N for each hash."""


def inspect(images: LabeledImages, division: DatasetSplit | None = None, cache_folder: Path | None = None) -> Inspection:
    """Check a data set and, if there is one, its division into parts.

    `cache_folder` is the folder of a cache file for intermediate results, as in `load_images`. Raises UsageError for fewer than
    two emotions, because nothing can be learned from them, and MoodexError if the cache cannot be written.
    """
    emotions = [file.emotion for file in images.files]
    if len(set(emotions)) < 2:
        raise UsageError(f"All {len(images)} images are {emotions[0]}: training needs images of at least two emotions.")
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    words: dict[str, Counter[str]] = defaultdict(Counter)
    first_emotions: dict[str, str] = {}
    copies = conflicts = 0
    for file in images.files:
        groups[file.source.artist][file.emotion] += 1
        words[file.emotion][file.label] += 1
        if file.digest in first_emotions:
            copies += 1
            conflicts += first_emotions[file.digest] != file.emotion
        first_emotions.setdefault(file.digest, file.emotion)
    parts = _parts(division) if division else None
    near = near_conflicts = straddling = 0
    for first, second in near_copies(images.pixels, cache_folder):
        if images.files[first].digest != images.files[second].digest:
            near += 1
            near_conflicts += emotions[first] != emotions[second]
            straddling += parts is not None and bool(parts[first] != parts[second])
    counts = Counter(emotions)
    occurring = [emotion for emotion in images.emotions if counts[emotion]]
    return Inspection(
        len(images),
        {emotion: counts[emotion] for emotion in occurring},
        {group: dict(by_emotion) for group, by_emotion in sorted(groups.items())},
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
    """Yield the rows of each pair of duplicates or near-duplicates, the smaller first.

    Near-duplicates are recompressed, resized or retouched images. The difference hashes of candidates differ in at most 3 of 64
    bits. A pair is yielded if none of its 32 x 32 gray cells differs by more than 10 of 255, so that an image with another mouth
    is not a near-duplicate.

    The time grows with the square of N. Memory is about 10 bytes per image; the gray cells, 4 KB per image, are in a cache file
    in `cache_folder`. Raises MoodexError if that cannot be written.
    """
    import faiss

    gray = write_cache((_cells(chunk, _GRID) for chunk in images.chunks()), (_GRID, _GRID), np.float32, cache_folder)
    hashes = np.concatenate([_difference_hashes(chunk) for chunk in images.chunks()])
    index = faiss.IndexBinaryFlat(_HASH_BITS)
    index.add(hashes)
    for start in range(0, len(hashes), _HASHES_PER_SEARCH):
        limits, _, matches = index.range_search(hashes[start : start + _HASHES_PER_SEARCH], _MAX_HASH_DISTANCE + 1)
        for row, (first, last) in enumerate(pairwise(limits.tolist()), start):
            candidates = np.sort(matches[first:last])
            candidates = candidates[candidates > row]
            if len(candidates):
                is_same = np.abs(gray[candidates] - gray[row]).max(axis=(1, 2)) <= _MAX_CELL_DIFFERENCE
                yield from ((row, int(other)) for other in candidates[is_same])


def _difference_hashes(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """Return the difference hashes, packed, uint8, (N, 8), of images, uint8, (N, size, size, 3).

    Each of the 64 bits tells whether a cell of an 8 x 8 grid is brighter than its left neighbor.
    """
    cells = _cells(pixels, 9)[:, :8, :]
    return np.packbits((cells[:, :, 1:] > cells[:, :, :-1] + _MIN_HASH_DIFFERENCE).reshape(len(pixels), -1), axis=1)


def _cells(pixels: Pixels, count: int) -> npt.NDArray[np.float32]:
    """Return the mean brightness, 0-255, of `count` x `count` cells per image: float32, (N, count, count)."""
    edges = np.linspace(0, pixels.shape[1], count + 1).astype(int)
    widths = np.maximum(np.diff(edges), 1)
    columns = np.add.reduceat(pixels.mean(axis=3, dtype=np.float32), edges[:-1], axis=2)
    cells: npt.NDArray[np.float32] = np.add.reduceat(columns, edges[:-1], axis=1) / (widths[:, None] * widths[None, :])
    return cells.astype(np.float32)


def _parts(division: DatasetSplit) -> npt.NDArray[np.int8]:
    """Return the number of the part of each row, int8, (N,): 0 training, 1 validation, 2 test."""
    parts = np.zeros(len(division.train) + len(division.validation) + len(division.test), dtype=np.int8)
    parts[division.validation], parts[division.test] = 1, 2
    return parts


def _mixed_case(labels: Iterable[str]) -> tuple[str, ...]:
    """List the labels that differ only in case, such as "Joy and joy"."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for label in labels:
        spellings[label.lower()].add(label)
    return tuple(" and ".join(sorted(variants)) for variants in spellings.values() if len(variants) > 1)
