"""Labelled pictures in memory, decoded as the product decodes them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.emotions import EMOTIONS
from indexer.domain.errors import ImageError, UsageError
from indexer.domain.images import InputSpec
from models.progress_bar import bar
from models.training.dataset_readers import Source, SourceImage

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Ids, Pixels

_log = logging.getLogger(__name__)

Decode = Callable[[Path, InputSpec], "Pixels"]
"""Reads one picture as the product does: uint8, (size, size, 3). Raises ImageError for what is no picture."""

GROUPINGS = ("artist", "set", "character")


@dataclass(frozen=True, slots=True)
class LabeledImages:
    """N decoded pictures.

    `pixels` is uint8, (N, size, size, 3); `labels` int64, (N,), positions in `emotions`; `files` has one entry a picture.
    `unreadable` lists the files that were left out, with the reason.
    """

    pixels: Pixels = field(repr=False)
    labels: Ids
    files: tuple[SourceImage, ...] = field(repr=False)
    emotions: tuple[str, ...]
    unreadable: tuple[tuple[Path, str], ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The set of each picture."""
        return tuple(file.source for file in self.files)

    @property
    def artists(self) -> tuple[str, ...]:
        """The artist of each picture."""
        return tuple(file.source.artist for file in self.files)

    def groups(self, by: str) -> tuple[str, ...]:
        """The group of each picture, by one of `GROUPINGS`. A picture whose character nobody named belongs to its set."""
        match by:
            case "artist":
                return self.artists
            case "set":
                return tuple(file.source.name for file in self.files)
            case "character":
                return tuple(
                    f"{file.source.name}/{file.character}" if file.character else file.source.name for file in self.files
                )
        raise UsageError(f"Pictures cannot be grouped by {by!r}, only by {', '.join(GROUPINGS)}.")

    def take(self, rows: npt.ArrayLike) -> LabeledImages:
        """The pictures of the given rows, in that order."""
        numbers = np.asarray(rows, dtype=np.int64)
        return LabeledImages(self.pixels[numbers], self.labels[numbers], tuple(self.files[row] for row in numbers), self.emotions)

    def where(self, chosen: npt.ArrayLike) -> LabeledImages:
        """The chosen ones, one truth value a picture."""
        return self.take(np.flatnonzero(np.asarray(chosen, dtype=bool)))

    def distinct(self) -> LabeledImages:
        """The first of every picture that is there more than once."""
        first: dict[str, int] = {}
        for row, file in enumerate(self.files):
            first.setdefault(file.digest or str(file.path), row)
        return self if len(first) == len(self) else self.take(list(first.values()))

    def without(self, names: Iterable[str]) -> tuple[LabeledImages, LabeledImages]:
        """What is left, and what was taken away: every picture of an artist, set or character among `names`.

        Naming a set takes all sets of its artist. Raises UsageError for a name that nothing here has.
        """
        taken = held_out(self, names)
        return self.where(~taken), self.where(taken)


def held_out(pictures: LabeledImages, names: Iterable[str]) -> npt.NDArray[np.bool_]:
    """Which pictures belong to an artist, set or character among `names`, one truth value each. Raises UsageError."""
    names = set(names)
    known = {name for file in pictures.files for name in (file.source.artist, file.source.name, file.character) if name}
    if unknown := sorted(names - known):
        listed = ", ".join(sorted(known))
        raise UsageError(f"Cannot hold out {unknown[0]!r}: no artist, set or character of that name is in the data ({listed}).")
    out = {file.source.artist for file in pictures.files if names & {file.source.artist, file.source.name}}
    return np.array([file.source.artist in out or file.character in names for file in pictures.files], dtype=bool)


def load_images(
    found: Sequence[SourceImage], spec: InputSpec, decode: Decode, workers: int = 0, emotions: Sequence[str] | None = None
) -> LabeledImages:
    """Decode pictures into memory, `workers` at a time (0: one a core); those that cannot be read are left out with a warning.

    `emotions` gives the order of the labels; None takes those that occur. Raises UsageError where no picture is left.
    """
    pixels = np.empty((len(found), spec.size, spec.size, 3), dtype=np.uint8)
    kept: list[SourceImage] = []
    unreadable: list[tuple[Path, str]] = []
    with ThreadPoolExecutor(workers or None) as pool:
        decoded = pool.map(partial(_decoded, spec=spec, decode=decode), (picture.path for picture in found))
        progress = bar(decoded, total=len(found), desc="decoding", unit="picture", leave=False)
        for picture, outcome in zip(found, progress, strict=True):
            if isinstance(outcome, str):
                _log.warning("Left out %s: %s", picture.path, outcome)
                unreadable.append((picture.path, outcome))
            else:
                pixels[len(kept)] = outcome
                kept.append(picture)
    if not kept:
        raise UsageError("None of the pictures can be read.")
    known = tuple(emotions or (emotion for emotion in EMOTIONS if any(picture.emotion == emotion for picture in kept)))
    labels = np.array([known.index(picture.emotion) for picture in kept], dtype=np.int64)
    return LabeledImages(pixels[: len(kept)], labels, tuple(kept), known, tuple(unreadable))


def _decoded(path: Path, spec: InputSpec, decode: Decode) -> Pixels | str:
    try:
        return decode(path, spec)
    except (ImageError, OSError) as error:
        return getattr(error, "strerror", None) or str(error)
