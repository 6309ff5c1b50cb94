"""Exports: the request, the filter, and the rows in chunks of columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.maps import region_keys

if TYPE_CHECKING:
    from indexer.domain.maps import LibraryMap
    from indexer.domain.models import ModelCard
    from indexer.domain.types import Floats, Halves

    Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class ExportFilter:
    """Which images to export.

    `emotions` are canonical and include sub-emotions; None means any. `under` are absolute folders and files; none means all.
    Images that the user hid are exported only with `hidden`.
    """

    emotions: frozenset[str] | None = None
    under: tuple[bytes, ...] = ()
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class ExportChunk:
    """N rows: one for each face in each live file, or one for the whole image.

    - `digests`: hex. `labels`: the user's, None without one.
    - `regions`: faces count from 1; the whole image is 0.
    - `boxes`: left, top, right and bottom edge in pixels. `sizes`: width and height of the image in pixels.
    - `probabilities`: float32, (N, labels of the model). `embeddings`: float16, (N, embedding size).
    - `tags`: those of the image by the model, with their probabilities, the most probable first; () if the model assigns none.

    An image that has a label but no prediction has the label as its emotion, score 1, region 0 and NaN for all numbers.
    """

    paths: Sequence[bytes]
    digests: Sequence[str]
    emotions: Sequence[str]
    scores: Sequence[float]
    labels: Sequence[str | None]
    regions: Sequence[int]
    boxes: Sequence[Box | None]
    sizes: Sequence[tuple[int, int]]
    probabilities: Floats
    embeddings: Halves
    tags: Sequence[Mapping[str, float]] = ()

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True, slots=True)
class Export:
    """All rows of one model, from one snapshot of the database, and the model's map, if it was made.

    `emotions`: all that a row may have, the model's first. `has_tags`: whether the model has assigned tags.
    """

    card: ModelCard
    emotions: tuple[str, ...]
    chunks: Iterator[ExportChunk]
    made: LibraryMap | None = None
    has_tags: bool = False

    @property
    def probability_columns(self) -> tuple[str, ...]:
        """The names of the probability columns, in the order of the model's labels."""
        return tuple(f"p_{label}" for label in self.card.labels)

    def places(self, chunk: ExportChunk) -> Floats:
        """Return where the rows of a chunk are on the map: float32, (N, 2), 0-1; NaN for those that are not on it."""
        import numpy as np

        if self.made is None:
            return np.full((len(chunk), 2), np.nan, dtype=np.float32)
        return self.made.shares(region_keys(map(bytes.fromhex, chunk.digests), chunk.regions))


@dataclass(frozen=True, slots=True)
class ExportReport:
    """The result of an export: the file, its rows and the model."""

    path: str
    rows: int
    model: str


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """An export as the user requested it. `force` replaces an existing `target`."""

    target: Path
    force: bool = False
    emotions: tuple[str, ...] = ()
    under: tuple[bytes, ...] = ()
    hidden: bool = False
