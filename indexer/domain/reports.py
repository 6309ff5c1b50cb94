"""What comes out of commands: a run's summary, a status, lists of models and of doubts."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.domain.runs import RunCounts

if TYPE_CHECKING:
    from indexer.domain.files import Counts, Failure
    from indexer.domain.models import ModelCard, StoredModel
    from indexer.domain.runs import RunRecord
    from indexer.domain.types import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary(RunCounts):
    """What a run did, how fast, and with what. `away` are the roots that are missing, or look as if their disk is not mounted."""

    seconds: float
    images_per_second: float
    device: str
    engine: str
    model: str
    away: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0, or 3 where some files failed or a root is away."""
        return 3 if self.failed or self.away else 0

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Status:
    """What there is: models with how many pictures they have seen, `disk_bytes` by part of the data folder, the latest
    runs, the first failures.
    """

    home: Path
    counts: Counts
    models: list[tuple[StoredModel, int]]
    runs: list[RunRecord]
    failures: list[tuple[bytes, Failure]]
    disk_bytes: dict[str, int]


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model that can be used. `origin` is "shipped" or "yours"; `pictures` counts those indexed with it."""

    card: ModelCard
    origin: str
    default: bool
    pictures: int


@dataclass(frozen=True, slots=True)
class DefaultModel:
    """The model that is used where no `--model` is given. `set_by` is "settings" (environment or file), "home" or "moodex"."""

    name: str
    set_by: str


@dataclass(frozen=True, slots=True)
class LabelsChanged:
    """What labelling did, in pictures: how many have the label now that did not have it before, and how many had it already;
    `skipped` are those that are not indexed.
    """

    changed: int
    unchanged: int
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class LabelConflict:
    """A label that a model contradicts: what a person `said`, what the model believes (`other`), each with its probability."""

    path: bytes
    image_id: str
    said: str
    said_score: float
    other: str
    other_score: float


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """A model in another format. The differences are the largest absolute ones from torch's outputs, on random pictures."""

    path: Path
    format: str
    model: str
    bytes: int
    probabilities_difference: float
    embeddings_difference: float


@dataclass(frozen=True, slots=True)
class TeachingSet:
    """What a model can learn from: N labelled pictures as embeddings, float32, (N, embedding size), with the labels and what the
    model in use says of each; and a sample of the library with the probabilities, float32, (M, labels), that it gives.
    """

    vectors: Floats
    labels: tuple[str, ...]
    said_before: tuple[str, ...]
    sample_vectors: Floats
    sample_probabilities: Floats

    def counts(self) -> dict[str, int]:
        """How many labels there are of each emotion."""
        return dict(sorted(Counter(self.labels).items()))


@dataclass(frozen=True, slots=True)
class TeachReport:
    """What teaching came to: balanced accuracy on held-out labels `before` and `after`, on `tested` of the `labels`.

    `model` is the new version, of which `rescored` pictures have answers; or, where it is not `new`, the old one: none would be
    better, or it is that version `already`. `default` says whether it is used from now on: not where --model or a
    setting names another.
    """

    model: str
    new: bool
    default: bool
    before: float
    after: float
    tested: int
    labels: dict[str, int]
    rescored: int
    already: bool = False


@dataclass(frozen=True, slots=True)
class UndoReport:
    """The model that is in use again, and how many pictures it had not seen and has answers for now."""

    model: str
    rescored: int


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A picture whose label would help: what the model takes it for, and how sure it is."""

    path: bytes
    image_id: str
    emotion: str
    score: float
