"""A look at a data set before it is trained on: what is in it, and what will make its numbers mean less than they seem to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.errors import UsageError
from indexer.domain.training import Inspection
from models.training.dataset import LabeledImages

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Pixels
    from models.training.splits import DatasetSplit

_GRID, _NEAR_BITS, _NEAR_CELL = 32, 3, 10


def inspect(pictures: LabeledImages, division: DatasetSplit | None = None) -> Inspection:
    """Look at a data set. Raises UsageError where it has fewer than two emotions, which nothing can be learned from."""
    emotions = [file.emotion for file in pictures.files]
    if len(set(emotions)) < 2:
        raise UsageError(f"All {len(pictures)} pictures are {emotions[0]}: training needs pictures of at least two emotions.")
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    words: dict[str, Counter[str]] = defaultdict(Counter)
    first: dict[str, str] = {}
    copies = conflicts = 0
    for file in pictures.files:
        groups[file.source.artist][file.emotion] += 1
        words[file.emotion][file.label] += 1
        if file.digest in first:
            copies += 1
            conflicts += first[file.digest] != file.emotion
        first.setdefault(file.digest, file.emotion)
    alike = [(a, b) for a, b in near_copies(pictures.pixels) if pictures.files[a].digest != pictures.files[b].digest]
    counts = Counter(emotions)
    occurring = [emotion for emotion in pictures.emotions if counts[emotion]]
    return Inspection(
        len(pictures),
        {emotion: counts[emotion] for emotion in occurring},
        {group: dict(one) for group, one in sorted(groups.items())},
        {emotion: dict(words[emotion]) for emotion in occurring},
        pictures.unreadable,
        copies,
        conflicts,
        len(alike),
        sum(emotions[a] != emotions[b] for a, b in alike),
        _straddling(alike, division) if division else 0,
        _mixed_case(file.label for file in pictures.files),
    )


def near_copies(pixels: Pixels) -> list[tuple[int, int]]:
    """Row pairs, ascending, of pictures, uint8 (N, size, size, 3), that look the same: recompressed, resized, retouched.

    Candidates have difference hashes (64 bits, each whether a cell is brighter than its neighbour) within 3 bits; of them those
    count whose 32 x 32 grey cells all agree within 10 of 255, so that another mouth is another picture.
    """
    import faiss

    grey = _cells(pixels, _GRID)
    rows = _cells(pixels, 9)[:, :8, :]
    hashes = np.packbits((rows[:, :, 1:] > rows[:, :, :-1] + 2).reshape(len(pixels), -1), axis=1)
    index = faiss.IndexBinaryFlat(64)
    index.add(hashes)
    limits, _, others = index.range_search(hashes, _NEAR_BITS + 1)
    pairs = []
    for row in range(len(pixels)):
        close = others[limits[row] : limits[row + 1]]
        close = np.sort(close[close > row])
        if len(close):
            same = np.abs(grey[close] - grey[row]).max(axis=(1, 2)) <= _NEAR_CELL
            pairs += [(row, int(other)) for other in close[same]]
    return pairs


def _cells(pixels: Pixels, count: int) -> npt.NDArray[np.float32]:
    """Mean brightness, 0-255, of `count` x `count` cells a picture: float32, (N, count, count)."""
    edges = np.linspace(0, pixels.shape[1], count + 1).astype(int)
    widths = np.maximum(np.diff(edges), 1)
    out = np.empty((len(pixels), count, count), dtype=np.float32)
    for start in range(0, len(pixels), 1024):
        grey = pixels[start : start + 1024].mean(axis=3, dtype=np.float32)
        columns = np.add.reduceat(grey, edges[:-1], axis=2)
        out[start : start + 1024] = np.add.reduceat(columns, edges[:-1], axis=1) / (widths[:, None] * widths[None, :])
    return out


def _straddling(pairs: Iterable[tuple[int, int]], division: DatasetSplit) -> int:
    part = np.zeros(len(division.train) + len(division.validation) + len(division.test), dtype=np.int8)
    part[division.validation], part[division.test] = 1, 2
    return sum(int(part[a] != part[b]) for a, b in pairs)


def _mixed_case(labels: Iterable[str]) -> tuple[str, ...]:
    spelled: dict[str, set[str]] = defaultdict(set)
    for label in labels:
        spelled[label.lower()].add(label)
    return tuple(" and ".join(sorted(each)) for each in spelled.values() if len(each) > 1)
