"""Results of commands: summary, status, models, labels, conflicts, teaching."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
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
    """The result of a run: counts, speed, model and device.

    - `images_per_second`: files that the run read, whether their images were new or known, each second.
    - `away`: the roots that are missing or look unmounted.
    - `system_entries`: numbers of folders and files that were left out because systems or other programs use them, by name.
    - `skipped`: numbers of the other files that the scan passed over, by kind, see `indexer.ports.sources.ScannedFolder`.
    - `not_scanned`: number of folders and archives that could not be scanned, which are among those that failed.
    - `unlisted`: why they could not, by path: the first ones.
    """

    seconds: float
    images_per_second: float
    device: str
    engine: str
    model: str
    away: tuple[str, ...] = ()
    system_entries: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    not_scanned: int = 0
    unlisted: Mapping[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0, or 3 if some files failed or a root is missing."""
        return 3 if self.failed or self.away else 0

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a library.

    - `models`: stored models with the number of images that each analyzed.
    - `runs`: the latest runs. `failures`: the first failed files.
    - `disk_bytes`: size of each part of the data folder.
    - `hidden`: number of images that the user hid.
    """

    home: Path
    counts: Counts
    models: list[tuple[StoredModel, int]]
    runs: list[RunRecord]
    failures: list[tuple[bytes, Failure]]
    disk_bytes: dict[str, int]
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class ListedModel:
    """An installed model. `origin` is "shipped" or "yours"; `images` is the number of images indexed with it."""

    card: ModelCard
    origin: str
    default: bool
    images: int


@dataclass(frozen=True, slots=True)
class DefaultModel:
    """The model that commands use without `--model`.

    `set_by` is "settings" (environment or configuration file), "home" (the data folder) or "moodex" (the shipped default).
    """

    name: str
    set_by: str


@dataclass(frozen=True, slots=True)
class LabelsChanged:
    """The result of labeling, as numbers of images.

    `changed` have another label than before, `unchanged` had it already, `skipped` are not indexed.
    """

    changed: int
    unchanged: int
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class CollectReport:
    """The result of copying or linking files into a folder.

    - `link`: whether they were linked, not copied.
    - `done`: number of new files. `present`: number of files that were there already.
    - `missing`: files that are not on disk or cannot be read.
    """

    folder: str
    link: bool
    done: int
    present: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarReport:
    """The result of writing sidecars, as numbers of files.

    `removed` were of moodex, and their images have no emotion any more. `kept` hold something else, perhaps of another program,
    and stayed. `failed` could not be written or removed. `missing` are images that are not on disk. After a `dry_run`, `written`
    and `removed` would have been.
    """

    written: int
    unchanged: int
    removed: int
    kept: int
    failed: int
    missing: int
    dry_run: bool


@dataclass(frozen=True, slots=True)
class LabelConflict:
    """A label that a model contradicts.

    `label` is the user's and `predicted` the model's emotion, each with the model's probability, 0-1.
    """

    path: bytes
    image_id: str
    label: str
    label_score: float
    predicted: str
    predicted_score: float


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """A model in another format, with its size in bytes.

    The differences are the largest absolute ones from the model's outputs on random images.
    """

    path: Path
    format: str
    model: str
    bytes: int
    probabilities_difference: float
    embeddings_difference: float


@dataclass(frozen=True, slots=True)
class TeachingSet:
    """N labeled images, and a sample of M predictions of the library.

    - `vectors`: embeddings of the labeled images, float32, (N, embedding size).
    - `labels`: their labels. `predicted_before`: the most probable emotion of each by the model in use.
    - `sample_vectors`: float32, (M, embedding size). `sample_probabilities`: float32, (M, labels), by the model in use.
    """

    vectors: Floats
    labels: tuple[str, ...]
    predicted_before: tuple[str, ...]
    sample_vectors: Floats
    sample_probabilities: Floats

    def counts(self) -> dict[str, int]:
        """Return the number of labels of each emotion."""
        return dict(sorted(Counter(self.labels).items()))


@dataclass(frozen=True, slots=True)
class TeachReport:
    """The result of teaching.

    - `model`: the new version if `new`; else the model in use, because the new version is not better or exists `already`.
    - `default`: whether the new version is the default from now on; False if --model or a setting names another model.
    - `before`, `after`: balanced accuracy, 0-1, on `tested` held-out labels.
    - `labels`: number of labels by emotion.
    - `rescored`: number of images with new predictions.
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
class CalibrationReport:
    """The result of calibrating a model on labeled images.

    - `log_loss_before`, `log_loss_after`: mean log loss, in nats, on held-out images.
    - `ece_before`, `ece_after`: calibration error, 0-1, on all images.
    - `changed`: whether the model was replaced; False if held-out images did not improve.
    - `rescored`: number of predictions that were computed again, from the stored ones.
    """

    model: str
    images: int
    log_loss_before: float
    log_loss_after: float
    ece_before: float
    ece_after: float
    changed: bool
    rescored: int = 0


@dataclass(frozen=True, slots=True)
class BlendReport:
    """The result of blending: the weights of the members by name, and the temperature.

    - `labels`: number of labeled images to which they were fitted; 0 if the user gave the weights.
    - `log_losses`: mean log loss, in nats, on held-out labels, of each member and of the blend; empty for given weights.
    - `derived`: number of predictions of the blend that were added.
    """

    model: str
    weights: dict[str, float]
    temperature: float
    labels: int
    log_losses: dict[str, float]
    derived: int


@dataclass(frozen=True, slots=True)
class UndoReport:
    """The result of undoing: the previous model, and the number of images that it newly scored."""

    model: str
    rescored: int


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An image whose label would help most, with the model's emotion and its probability."""

    path: bytes
    image_id: str
    emotion: str
    score: float
