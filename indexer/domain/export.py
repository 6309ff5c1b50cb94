"""Exports: the request, the filter, and the rows in chunks of columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    - `boxes`: left, top, right and bottom edge in pixels.
    - `probabilities`: float32, (N, labels of the model). `embeddings`: float16, (N, embedding size).

    An image that has a label but no prediction has the label as its emotion, score 1, region 0 and NaN for all numbers.
    """

    paths: Sequence[bytes]
    digests: Sequence[str]
    emotions: Sequence[str]
    scores: Sequence[float]
    labels: Sequence[str | None]
    regions: Sequence[int]
    boxes: Sequence[Box | None]
    probabilities: Floats
    embeddings: Halves

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True, slots=True)
class Export:
    """All rows of one model, from one snapshot of the database."""

    card: ModelCard
    chunks: Iterator[ExportChunk]

    @property
    def probability_columns(self) -> tuple[str, ...]:
        """The names of the probability columns, in the order of the model's labels."""
        return tuple(f"p_{label}" for label in self.card.labels)


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
