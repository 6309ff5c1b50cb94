"""Where the face is: the part of a drawing that changes between the expressions of one character.

Two images of a character with the same size usually differ in the face only. The region of an image is the largest one in which
it differs from another image of its character, below 12% of the canvas: a larger one means another pose. It reaches from the
brows to the mouth.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_CHANGE = 40
"""Difference of a color channel, of 255, above which a pixel changed."""

_FEWEST_CHANGED = 0.0004
"""Share of the pixels that must change; fewer are noise."""

_OUTERMOST = 0.01
"""Share of the changed pixels that a region leaves out on each side."""

_LARGEST_AREA = 0.12

Region = tuple[float, int, int, int, int]
"""Area as a share of the canvas; left, top, right and bottom in pixels."""


def find_regions(folder: Path, images: Iterable[tuple[str, str]]) -> list[tuple[str, float, float, float, float]]:
    """Return the regions of images, each a file in the folder and a character, sorted by file.

    A region has its left, top, right and bottom as shares of the width and height. Images without a region are left out.
    """
    groups: dict[tuple[str, tuple[int, int]], list[tuple[str, NDArray[np.int16]]]] = defaultdict(list)
    for file, character in images:
        pixels = _on_white(folder / file)
        groups[character, pixels.shape[1::-1]].append((file, pixels))
    return sorted(row for (_, size), group in groups.items() for row in _regions_of_group(size, group))


def write_regions(folder: Path, images: Iterable[tuple[str, str]]) -> int:
    """Write `regions.csv` if there are regions, and return their number."""
    regions = find_regions(folder, images)
    if regions:
        with (folder / "regions.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("file", "left", "top", "right", "bottom"))
            writer.writerows((name, *(f"{share:.4f}" for share in shares)) for name, *shares in regions)
    return len(regions)


def _regions_of_group(
    size: tuple[int, int], group: list[tuple[str, NDArray[np.int16]]]
) -> Iterator[tuple[str, float, float, float, float]]:
    width, height = size
    largest: dict[str, Region] = {}
    for (one, one_pixels), (other, other_pixels) in combinations(group, 2):
        if region := _changed_region(one_pixels, other_pixels):
            for file in (one, other):
                largest[file] = max(largest.get(file, region), region)
    for file, (_, left, top, right, bottom) in largest.items():
        yield file, left / width, top / height, right / width, bottom / height


def _changed_region(one: NDArray[np.int16], other: NDArray[np.int16]) -> Region | None:
    """Return the region that holds the middle of the changed pixels; None if it is not a face."""
    changed = np.abs(one - other).max(axis=2) > _CHANGE
    count = int(changed.sum())
    if count < _FEWEST_CHANGED * changed.size:
        return None
    top, bottom = _middle(changed.sum(axis=1), count)
    left, right = _middle(changed.sum(axis=0), count)
    area = (bottom - top) * (right - left) / changed.size
    return (area, left, top, right + 1, bottom + 1) if 0 < area < _LARGEST_AREA else None


def _middle(counts: NDArray[np.int64], total: int) -> tuple[int, int]:
    """Return the first and the last row or column without the outermost pixels."""
    shares = np.cumsum(counts) / total
    return int(np.searchsorted(shares, _OUTERMOST)), int(np.searchsorted(shares, 1 - _OUTERMOST))


def _on_white(path: Path) -> NDArray[np.int16]:
    with Image.open(path) as opened:
        image = opened.convert("RGBA")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"), dtype=np.int16)
