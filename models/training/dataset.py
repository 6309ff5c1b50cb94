"""Labeled images, decoded for a network, in a cache on disk."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.emotions import OUTCOMES
from indexer.domain.errors import ImageError, UsageError
from indexer.domain.training import WHOLE_IMAGES
from models.progress_bar import bar
from models.training.image_cache import ImageRows, write_cache

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.images import InputSpec
    from indexer.domain.types import Ids, Pixels
    from indexer.ports.analyzer import InputDecoder
    from models.training.dataset_readers import Source, SourceImage

_log = logging.getLogger(__name__)

GROUPINGS = ("artist", "set", "character")
"""Kinds of groups of images, from the coarsest to the finest."""

_DECODED_AHEAD = 4
"""Most images per worker that are decoded and not yet written. Without a limit, a slow disk would let memory grow."""

_MAX_WORKERS = 32
"""Most workers unless the user chooses a number."""


@dataclass(frozen=True, slots=True)
class LabeledImages:
    """N decoded images and their labels.

    - `pixels`: uint8, (N, size, size, 3), on disk; an index reads images into memory.
    - `labels`: int64, (N,), positions in `emotions`.
    - `files`: file, label and source of each image.
    - `unreadable`: files that were skipped, each with the reason.
    - `faces`: what was decoded of each image; see `indexer.ports.analyzer.InputDecoder`.
    """

    pixels: ImageRows = field(repr=False)
    labels: Ids
    files: tuple[SourceImage, ...] = field(repr=False)
    emotions: tuple[str, ...]
    unreadable: tuple[tuple[Path, str], ...] = ()
    faces: str = WHOLE_IMAGES

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The source of each image."""
        return tuple(file.source for file in self.files)

    @property
    def artists(self) -> tuple[str, ...]:
        """The artist of each image."""
        return tuple(file.source.artist for file in self.files)

    def groups(self, by: str) -> tuple[str, ...]:
        """Return the name of the group of each image; `by` is one of `GROUPINGS`.

        Without a character, an image belongs to the group of its set. Raises UsageError for another grouping.
        """
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
        """Return the images in the given rows, in that order. Reads no pixels."""
        numbers = np.asarray(rows, dtype=np.int64)
        files = tuple(self.files[row] for row in numbers)
        return replace(self, pixels=self.pixels.take(numbers), labels=self.labels[numbers], files=files, unreadable=())

    def where(self, mask: npt.ArrayLike) -> LabeledImages:
        """Return the images for which `mask`, bool, (N,), is true."""
        return self.take(np.flatnonzero(np.asarray(mask, dtype=bool)))

    def distinct(self) -> LabeledImages:
        """Return the images without exact duplicates: the first image with each digest."""
        first_rows: dict[str, int] = {}
        for row, file in enumerate(self.files):
            first_rows.setdefault(file.digest or str(file.path), row)
        return self if len(first_rows) == len(self) else self.take(list(first_rows.values()))

    def without(self, names: Iterable[str]) -> tuple[LabeledImages, LabeledImages]:
        """Return the images outside and inside the groups that are held out by name; see `held_out`."""
        mask = held_out(self, names)
        return self.where(~mask), self.where(mask)


def held_out(images: LabeledImages, names: Iterable[str]) -> npt.NDArray[np.bool_]:
    """Return which images belong to an artist, set or character among `names`: bool, (N,).

    The name of a set holds out all sets of its artist. Raises UsageError for an unknown name.
    """
    names = set(names)
    all_names = {name for file in images.files for name in (file.source.artist, file.source.name, file.character) if name}
    if unknown := sorted(names - all_names):
        listed = ", ".join(sorted(all_names))
        raise UsageError(f"Cannot hold out {unknown[0]!r}: the data has no artist, set or character of that name ({listed}).")
    artists = {file.source.artist for file in images.files if names & {file.source.artist, file.source.name}}
    return np.array([file.source.artist in artists or file.character in names for file in images.files], dtype=bool)


def load_images(
    source_images: Sequence[SourceImage],
    spec: InputSpec,
    decoder: InputDecoder,
    workers: int = 0,
    emotions: Sequence[str] | None = None,
    cache_folder: Path | None = None,
) -> LabeledImages:
    """Decode images into a cache file; log a warning for an unreadable image and skip it.

    - `source_images`: the files, as `models.training.dataset_readers.find_images` lists them.
    - `spec`: the input of the network; `decoder`: decodes the files for it.
    - `workers`: images decoded in parallel; 0 chooses a number for the machine.
    - `emotions`: order of the labels, which must include every emotion of the images; None takes the emotions that occur.
    - `cache_folder`: folder of the cache file; see `models.training.image_cache.write_cache`.

    Raises UsageError if no image can be read, MoodexError if the cache cannot be written.
    """
    readable: list[SourceImage] = []
    unreadable: list[tuple[Path, str]] = []

    def pixels_of_readable() -> Iterator[Pixels]:
        outcomes = _decode_in_order(source_images, spec, decoder, workers or min(_MAX_WORKERS, (os.cpu_count() or 1) + 4))
        for image, outcome in bar(outcomes, total=len(source_images), desc="decoding", unit="image", leave=False):
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
    label_names = tuple(emotions or (emotion for emotion in OUTCOMES if emotion in occurring))
    labels = np.array([label_names.index(image.emotion) for image in readable], dtype=np.int64)
    return LabeledImages(ImageRows(pixels), labels, tuple(readable), label_names, tuple(unreadable), decoder.faces)


def _decode_in_order(
    source_images: Iterable[SourceImage], spec: InputSpec, decoder: InputDecoder, workers: int
) -> Iterator[tuple[SourceImage, Pixels | str]]:
    """Yield each image with its pixels, or with the reason why it is unreadable.

    Threads decode at most `_DECODED_AHEAD` images per worker ahead of the caller.
    """
    pending: deque[tuple[SourceImage, Future[Pixels | str]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for image in source_images:
            pending.append((image, pool.submit(_decode, image.path, spec, decoder)))
            if len(pending) >= _DECODED_AHEAD * workers:
                first, outcome = pending.popleft()
                yield first, outcome.result()
        while pending:
            first, outcome = pending.popleft()
            yield first, outcome.result()


def _decode(path: Path, spec: InputSpec, decoder: InputDecoder) -> Pixels | str:
    """Return the pixels of an image, or the reason why it is unreadable."""
    try:
        return decoder.decode(path, spec)
    except (ImageError, OSError) as error:
        return getattr(error, "strerror", None) or str(error)
