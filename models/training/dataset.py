"""Labeled images, decoded as the product decodes them into a cache on disk."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.emotions import EMOTIONS
from indexer.domain.errors import ImageError, UsageError
from indexer.domain.images import InputSpec
from models.progress_bar import bar
from models.training.image_cache import ImageRows, write_cache

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Ids, Pixels
    from models.training.dataset_readers import Source, SourceImage

_log = logging.getLogger(__name__)

Decode = Callable[[Path, InputSpec], "Pixels"]
"""Decodes one image as the product does: uint8, (size, size, 3). Raises ImageError for a file that is not an image."""

GROUPINGS = ("artist", "set", "character")

_DECODED_AHEAD = 4
"""Images decoded and not yet written, per worker: memory stays bounded if the disk is slower than the decoders."""

_MAX_WORKERS = 32


@dataclass(frozen=True, slots=True)
class LabeledImages:
    """N decoded images and their labels.

    - `pixels`: uint8, (N, size, size, 3), read by index.
    - `labels`: int64, (N,), positions in `emotions`.
    - `files`: one entry per image.
    - `unreadable`: files that were skipped, each with the reason.
    """

    pixels: ImageRows = field(repr=False)
    labels: Ids
    files: tuple[SourceImage, ...] = field(repr=False)
    emotions: tuple[str, ...]
    unreadable: tuple[tuple[Path, str], ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The set of each image."""
        return tuple(file.source for file in self.files)

    @property
    def artists(self) -> tuple[str, ...]:
        """The artist of each image."""
        return tuple(file.source.artist for file in self.files)

    def groups(self, by: str) -> tuple[str, ...]:
        """Return the group of each image, by one of `GROUPINGS`. An image without a character belongs to its set."""
        match by:
            case "artist":
                return self.artists
            case "set":
                return tuple(file.source.name for file in self.files)
            case "character":
                return tuple(
                    f"{file.source.name}/{file.character}" if file.character else file.source.name for file in self.files
                )
        raise UsageError(f"Images cannot be grouped by {by!r}, only by {', '.join(GROUPINGS)}.")

    def take(self, rows: npt.ArrayLike) -> LabeledImages:
        """Return the images of the given rows, in that order. Reads no pixels."""
        numbers = np.asarray(rows, dtype=np.int64)
        files = tuple(self.files[row] for row in numbers)
        return LabeledImages(self.pixels.take(numbers), self.labels[numbers], files, self.emotions)

    def where(self, chosen: npt.ArrayLike) -> LabeledImages:
        """Return the images for which `chosen`, bool, (N,), is true."""
        return self.take(np.flatnonzero(np.asarray(chosen, dtype=bool)))

    def distinct(self) -> LabeledImages:
        """Return the first of each group of exact duplicates."""
        first: dict[str, int] = {}
        for row, file in enumerate(self.files):
            first.setdefault(file.digest or str(file.path), row)
        return self if len(first) == len(self) else self.take(list(first.values()))

    def without(self, names: Iterable[str]) -> tuple[LabeledImages, LabeledImages]:
        """Return the remaining images and the held-out ones: those of an artist, set or character among `names`.

        The name of a set holds out all sets of its artist. Raises UsageError for an unknown name.
        """
        taken = held_out(self, names)
        return self.where(~taken), self.where(taken)


def held_out(images: LabeledImages, names: Iterable[str]) -> npt.NDArray[np.bool_]:
    """Return which images belong to an artist, set or character among `names`: bool, (N,). Raises UsageError."""
    names = set(names)
    known = {name for file in images.files for name in (file.source.artist, file.source.name, file.character) if name}
    if unknown := sorted(names - known):
        listed = ", ".join(sorted(known))
        raise UsageError(f"Cannot hold out {unknown[0]!r}: the data has no artist, set or character of that name ({listed}).")
    artists = {file.source.artist for file in images.files if names & {file.source.artist, file.source.name}}
    return np.array([file.source.artist in artists or file.character in names for file in images.files], dtype=bool)


def load_images(
    found: Sequence[SourceImage],
    spec: InputSpec,
    decode: Decode,
    workers: int = 0,
    emotions: Sequence[str] | None = None,
    cache_folder: Path | None = None,
) -> LabeledImages:
    """Decode images into a cache file, and skip unreadable ones with a warning.

    - `workers`: images decoded in parallel; 0 chooses a number for the machine.
    - `emotions`: order of the labels; None takes the emotions that occur.
    - `cache_folder`: folder of the cache file, see `models.training.image_cache.write_cache`.

    Raises UsageError if no image can be read, MoodexError if the cache cannot be written.
    """
    readable: list[SourceImage] = []
    unreadable: list[tuple[Path, str]] = []

    def pixels_of_readable() -> Iterator[Pixels]:
        outcomes = _decode_in_order(found, spec, decode, workers or min(_MAX_WORKERS, (os.cpu_count() or 1) + 4))
        for image, outcome in bar(outcomes, total=len(found), desc="decoding", unit="image", leave=False):
            if isinstance(outcome, str):
                _log.warning("Skipped %s: %s", image.path, outcome)
                unreadable.append((image.path, outcome))
            else:
                readable.append(image)
                yield outcome

    pixels = write_cache(pixels_of_readable(), (spec.size, spec.size, 3), np.uint8, cache_folder)
    if not readable:
        raise UsageError("None of the images can be read.")
    occurring = {image.emotion for image in readable}
    known = tuple(emotions or (emotion for emotion in EMOTIONS if emotion in occurring))
    labels = np.array([known.index(image.emotion) for image in readable], dtype=np.int64)
    return LabeledImages(ImageRows(pixels), labels, tuple(readable), known, tuple(unreadable))


def _decode_in_order(
    found: Iterable[SourceImage], spec: InputSpec, decode: Decode, workers: int
) -> Iterator[tuple[SourceImage, Pixels | str]]:
    """Yield each image with its pixels or the reason why it is unreadable; a bounded number is decoded ahead."""
    waiting: deque[tuple[SourceImage, Future[Pixels | str]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for image in found:
            waiting.append((image, pool.submit(_decode, image.path, spec, decode)))
            if len(waiting) >= _DECODED_AHEAD * workers:
                first, outcome = waiting.popleft()
                yield first, outcome.result()
        while waiting:
            first, outcome = waiting.popleft()
            yield first, outcome.result()


def _decode(path: Path, spec: InputSpec, decode: Decode) -> Pixels | str:
    try:
        return decode(path, spec)
    except (ImageError, OSError) as error:
        return getattr(error, "strerror", None) or str(error)
