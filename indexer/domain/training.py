"""Results of training, evaluation, comparison and explanation: records that `models` makes and `commands.output` shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Ids, Pixels

MIN_IMAGES_PER_EMOTION = 10
MAX_IMBALANCE_RATIO = 10
"""The most common emotion may have this many times the images of the rarest before a warning."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """The measures of one training epoch.

    Accuracies are 0-1. Validation measures are None if there is no validation part.
    """

    number: int
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    validation_balanced: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Inspection:
    """The contents and defects of a data set.

    - `pictures`: number of images. `counts`: by emotion. `groups`: by artist and emotion.
    - `words`: for each emotion, the labels in the data that mean it, with their counts.
    - `unreadable`: files with the reason.
    - `copies`: images with the same bytes as another one. `conflicts`: those of them with another label.
    - `near`: pairs of near-duplicates with different bytes. `near_conflicts`: those with different labels. `straddling`: those in
      different parts of the split.
    - `mixed_case`: labels that differ only in case.
    """

    pictures: int
    counts: Mapping[str, int]
    groups: Mapping[str, Mapping[str, int]]
    words: Mapping[str, Mapping[str, int]]
    unreadable: tuple[tuple[Path, str], ...] = ()
    copies: int = 0
    conflicts: int = 0
    near: int = 0
    near_conflicts: int = 0
    straddling: int = 0
    mixed_case: tuple[str, ...] = ()

    @property
    def warnings(self) -> list[str]:
        """Reasons not to trust numbers from this data, one sentence each."""
        warnings = []
        if few := [emotion for emotion, count in self.counts.items() if count < MIN_IMAGES_PER_EMOTION]:
            counts = ", ".join(f"{emotion} ({self.counts[emotion]})" for emotion in few)
            warnings.append(f"Fewer than {MIN_IMAGES_PER_EMOTION} images: {counts}.")
        most, least = max(self.counts.values()), min(self.counts.values())
        if most > MAX_IMBALANCE_RATIO * least:
            warnings.append(f"Unbalanced: the most common emotion has {most / least:.0f} times as many images as the rarest.")
        if single := [group for group, counts in self.groups.items() if len(counts) == 1 and len(self.groups) > 1]:
            warnings.append(f"Only one emotion in {_listed(single)}: accuracy on it means little.")
        if self.mixed_case:
            warnings.append(f"Labels that differ only in case were joined: {_listed(list(self.mixed_case))}.")
        if self.unreadable:
            first, reason = self.unreadable[0]
            warnings.append(f"{len(self.unreadable)} files cannot be read, for example {first}: {reason}.")
        if self.conflicts:
            warnings.append(f"{self.conflicts} images are copies of an image with another label.")
        if self.near_conflicts:
            warnings.append(f"{self.near_conflicts} pairs of images look the same and have different labels.")
        if self.straddling:
            warnings.append(f"{self.straddling} pairs of images that look the same are in different parts of the split.")
        return warnings

    def as_json(self) -> dict[str, Any]:
        """Return the fields and warnings as JSON-compatible data."""
        facts = asdict(self) | {"warnings": self.warnings}
        facts["unreadable"] = [{"path": str(path), "reason": reason} for path, reason in self.unreadable]
        return facts


@dataclass(frozen=True, slots=True)
class ByLabel:
    """The measures of one label.

    Precision, recall and F1 are 0-1, and 0 where they are undefined; `support` is its number of images.
    """

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Measures over N images, each 0-1.

    - `balanced_accuracy`, `macro_f1`: mean recall and mean F1 of the labels that occur.
    - `chance`: the balanced accuracy of guessing.
    - `ece`: expected calibration error.
    - `confusion`: int64, (labels, labels); rows are true labels, columns predicted ones.
    - `reliability`: (confidence, accuracy, images) of each bin of confidence that is not empty.
    - `intervals`: 95% confidence intervals by measure; empty unless requested.
    - `temperature`: the one that calibrates these probabilities best; 1 means that they are calibrated.
    - `left_out`: number of images of emotions that the model does not know; no measure includes them.
    """

    n: int
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    ece: float
    chance: float
    per_class: Mapping[str, ByLabel]
    labels: tuple[str, ...]
    confusion: Ids = field(repr=False, compare=False)
    reliability: tuple[tuple[float, float, int], ...] = field(default=(), repr=False)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    temperature: float | None = None
    left_out: int = 0

    @property
    def recall(self) -> dict[str, float]:
        """Recall of each label that occurs."""
        return {label: measures.recall for label, measures in self.per_class.items() if measures.support}

    def as_json(self) -> dict[str, Any]:
        """Return the measures as JSON-compatible data, rounded to four places."""
        return {
            "n": self.n,
            "accuracy": round(self.accuracy, 4),
            "balanced_accuracy": round(self.balanced_accuracy, 4),
            "macro_f1": round(self.macro_f1, 4),
            "ece": round(self.ece, 4),
            "chance": round(self.chance, 4),
            "per_class": {
                label: {
                    "precision": round(measures.precision, 4),
                    "recall": round(measures.recall, 4),
                    "f1": round(measures.f1, 4),
                    "support": measures.support,
                }
                for label, measures in self.per_class.items()
            },
            "labels": list(self.labels),
            "confusion": self.confusion.tolist(),
            "intervals": {name: [round(low, 4), round(high, 4)] for name, (low, high) in self.intervals.items()},
            "temperature": None if self.temperature is None else round(self.temperature, 4),
            "left_out": self.left_out,
        }


@dataclass(frozen=True, slots=True)
class Mistake:
    """A misclassified image: true label, predicted label, and confidence, 0-1."""

    path: Path
    truth: str
    guess: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Deletion:
    """A deletion test: the target's mean probability with 0, 1/16, ... 16/16 of each image blurred.

    `by_heat` blurs the hottest places first, `by_chance` random ones. The smaller the area under `by_heat` is compared with
    `by_chance`, the more faithful are the heat maps.
    """

    pictures: int
    by_heat: tuple[float, ...]
    by_chance: tuple[float, ...]

    @property
    def areas(self) -> tuple[float, float]:
        """The areas under both curves, 0-1, by the trapezoidal rule."""
        first, second = (
            sum((a + b) / 2 for a, b in pairwise(curve)) / (len(curve) - 1) for curve in (self.by_heat, self.by_chance)
        )
        return first, second


@dataclass(frozen=True, slots=True)
class AverageMap:
    """The mean heat map of one emotion over `pictures` images.

    - `heat`: float32, (size, size), 0-1.
    - `picture`: the mean image, uint8, (size, size, 3).
    - `thirds`: shares of the heat in the upper, middle and lower third.
    """

    pictures: int
    heat: Floats = field(repr=False, compare=False)
    picture: Pixels = field(repr=False, compare=False)
    thirds: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Explained:
    """The heat map of one image for one emotion.

    - `picture`: the model's input, uint8, (size, size, 3).
    - `heat`: float32, (size, size), 0-1.
    - `probability`: of the emotion, 0-1.
    """

    emotion: str
    probability: float
    method: str
    picture: Pixels = field(repr=False, compare=False)
    heat: Floats = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ExplainedData:
    """Heat maps of a data set: the mean map of each emotion, and a deletion test of the maps."""

    method: str
    averages: Mapping[str, AverageMap]
    deletion: Deletion


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training: its checkpoint, its epochs, and its evaluation on the test part, if there is one."""

    path: Path
    name: str
    parameters: int
    history: tuple[Epoch, ...]
    tested: Evaluation | None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a comparison: a variant on a data set under a split, with one seed.

    - `accuracy_train`: of the last epoch, on the training part.
    - `accuracy_mean`, `accuracy_best`: over the epochs, on the validation part.
    - `test_*`: of the finished checkpoint on images that neither training nor any choice used; the mean over `divisions` (folds,
      or groups held out in turn).
    - `chance`: the balanced accuracy of guessing. Accuracies are 0-1.
    - `images_per_second`: of inference alone, without preprocessing.
    """

    dataset: str
    split: str
    variant: str
    architecture: str
    weights: str
    seed: int
    pictures: int
    emotions: int
    divisions: int
    epochs: int
    seconds_per_epoch: float
    parameters: int
    images_per_second: float
    accuracy_train: float
    accuracy_mean: float | None
    accuracy_best: float | None
    test_accuracy: float
    test_balanced: float
    test_macro_f1: float
    chance: float


class ComparisonWatcher(Protocol):
    """An observer of a comparison."""

    def cell(self, number: int, total: int, title: str, known: bool) -> None:
        """One training of the grid begins; if `known`, its result exists from an earlier run."""

    def epoch(self, epoch: Epoch) -> None:
        """An epoch of this training has ended."""


class TrainingWatcher(Protocol):
    """An observer of a training."""

    def data(self, inspection: Inspection, parts: Mapping[str, int], split: str) -> None:
        """The data set was inspected and split; `parts` are the images of each part, `split` is the name of the split."""

    def resumed(self) -> None:
        """An interrupted training resumes."""

    def epoch(self, epoch: Epoch) -> None:
        """An epoch has ended."""


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
