"""Compare the images of a set with those of an existing folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def compare_set(folder: Path, other: Path) -> str:
    """Return a sentence about the images of two folders: how many are equal, differ, or are in one folder only."""
    ours, theirs = _files(folder), _files(other)
    both = sorted(ours & theirs)
    same_bytes = [file for file in both if (folder / file).read_bytes() == (other / file).read_bytes()]
    same_pixels = [file for file in set(both) - set(same_bytes) if largest_difference(folder / file, other / file) == 0]
    words = [f"{len(same_bytes) + len(same_pixels)} of {len(theirs)} are equal, {len(same_bytes)} in every byte"]
    if different := sorted(set(both) - set(same_bytes) - set(same_pixels)):
        worst = max(largest_difference(folder / file, other / file) for file in different)
        words.append(f"{len(different)} differ, by up to {worst} of 255, as {different[0]}")
    if extra := ours - theirs:
        words.append(f"{len(extra)} are new")
    if missing := theirs - ours:
        words.append(f"{len(missing)} are missing, as {min(missing)}")
    tables = [name for name in ("manifest.csv", "regions.csv") if _text(folder / name) != _text(other / name)]
    words.extend(f"{name} differs" for name in tables)
    return "; ".join(words)


def largest_difference(one: Path, other: Path) -> int:
    """Return the largest difference of a channel between two RGBA images, from 0 to 255; 255 if their sizes differ."""
    pixels = []
    for path in (one, other):
        with Image.open(path) as image:
            pixels.append(np.asarray(image.convert("RGBA"), dtype=np.int16))
    if pixels[0].shape != pixels[1].shape:
        return 255
    return int(np.abs(pixels[0] - pixels[1]).max())


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.glob("*/*") if path.is_file()}


def _text(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
