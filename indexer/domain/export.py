"""What an export is made of: which pictures are wanted, and their rows, some thousands at a time, column by column."""

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
    """Which pictures to export: those of some emotions (canonical, children among them; None: any), below a folder."""

    emotions: frozenset[str] | None = None
    under: bytes | None = None


@dataclass(frozen=True, slots=True)
class ExportChunk:
    """N rows: one for each face in each live file, or for the picture as a whole.

    `digests` are hex; `labels` what a person said; `regions` count faces from 1, the whole is 0; `boxes` are left, top, right and
    bottom edge in pixels; `probabilities` float32, (N, labels of the model); `embeddings` float16, (N, embedding size). What the
    model has not seen, but a person labelled, has the label as its emotion, score 1, region 0, and NaN for numbers.
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
    """All rows of one model, as the database is at one moment."""

    card: ModelCard
    portions: Iterator[ExportChunk]

    @property
    def probability_columns(self) -> tuple[str, ...]:
        """What the columns of probabilities are called, in the order of the model's labels."""
        return tuple(f"p_{label}" for label in self.card.labels)


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported: how many rows to which file, of which model."""

    path: str
    rows: int
    model: str


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """An export as a user asks for it. `force` replaces a `target` that exists."""

    target: Path
    force: bool = False
    emotions: tuple[str, ...] = ()
    under: bytes | None = None
