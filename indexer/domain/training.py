"""What training, evaluating and comparing report: plain records, made by `models` and shown by `render`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Ids, Pixels

FEW = 10
IMBALANCE = 10


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch of training brought. Accuracies are 0-1; those of validation are None where there is no such part."""

    number: int
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    validation_balanced: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a look at a data set found.

    `counts` is pictures by emotion; `groups` by artist and emotion; `words` which labels of the data mean which emotion, with
    how often; `unreadable` files with the reason; `copies` counts pictures whose bytes are there already and `conflicts` those
    of them with another label; `near` pairs that look the same though their bytes differ, of which `near_conflicts` have
    different labels and `straddling` lie in different parts of the split.
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
        """What a user should know before trusting numbers from these data, a sentence each."""
        found = []
        if few := [emotion for emotion, count in self.counts.items() if count < FEW]:
            found.append(f"Fewer than {FEW} pictures: {', '.join(f'{emotion} ({self.counts[emotion]})' for emotion in few)}.")
        most, least = max(self.counts.values()), min(self.counts.values())
        if most > IMBALANCE * least:
            found.append(f"Unbalanced: the commonest emotion has {most / least:.0f} times the pictures of the rarest.")
        if single := [group for group, counts in self.groups.items() if len(counts) == 1 and len(self.groups) > 1]:
            found.append(f"Only one emotion in {_some(single)}: being measured on it tells little.")
        if self.mixed_case:
            found.append(f"Labels that differ in upper and lower case alone were joined: {_some(list(self.mixed_case))}.")
        if self.unreadable:
            first, reason = self.unreadable[0]
            found.append(f"{len(self.unreadable)} files cannot be read, {first} for one: {reason}.")
        if self.conflicts:
            found.append(f"{self.conflicts} pictures are copies of one with another label.")
        if self.near_conflicts:
            found.append(f"{self.near_conflicts} pairs of pictures look the same and have different labels.")
        if self.straddling:
            found.append(f"{self.straddling} pairs of pictures that look the same lie in different parts of the split.")
        return found

    def as_json(self) -> dict[str, Any]:
        """The same as plain data."""
        facts = asdict(self) | {"warnings": self.warnings}
        facts["unreadable"] = [{"path": str(path), "reason": reason} for path, reason in self.unreadable]
        return facts


@dataclass(frozen=True, slots=True)
class ByLabel:
    """How one label fares. Precision, recall and F1 are 0-1, 0 where they are undefined; `support` counts its pictures."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Measures over N pictures, each 0-1.

    Balanced accuracy is the mean recall and macro-F1 the mean F1 of the labels that occur; `chance` is what blind guessing gets
    of the former. `ece` is the expected calibration error. `confusion` is int64, (labels, labels), rows true, columns guessed.
    `reliability` has (confidence, accuracy, pictures) for every bin of confidence that is not empty. `intervals` are 95%, by
    measure; empty where they were not asked for. `temperature` would calibrate these probabilities best (1: they are).
    `left_out` counts pictures of emotions that the model does not know; they are in no measure.
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
        """Recall by label, of those that occur."""
        return {label: one.recall for label, one in self.per_class.items() if one.support}

    def as_json(self) -> dict[str, Any]:
        """The same as plain data, rounded to four places."""
        return {
            "n": self.n,
            "accuracy": round(self.accuracy, 4),
            "balanced_accuracy": round(self.balanced_accuracy, 4),
            "macro_f1": round(self.macro_f1, 4),
            "ece": round(self.ece, 4),
            "chance": round(self.chance, 4),
            "per_class": {
                label: {
                    "precision": round(one.precision, 4),
                    "recall": round(one.recall, 4),
                    "f1": round(one.f1, 4),
                    "support": one.support,
                }
                for label, one in self.per_class.items()
            },
            "labels": list(self.labels),
            "confusion": self.confusion.tolist(),
            "intervals": {name: [round(low, 4), round(high, 4)] for name, (low, high) in self.intervals.items()},
            "temperature": None if self.temperature is None else round(self.temperature, 4),
            "left_out": self.left_out,
        }


@dataclass(frozen=True, slots=True)
class Mistake:
    """A picture that was guessed wrongly: what it is, what was guessed, and how sure that was (0-1)."""

    path: Path
    truth: str
    guess: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Deletion:
    """A deletion test over so many pictures: the target's mean probability with 0, 1/16, ... 16/16 of the picture blurred away.

    `by_heat` takes the hottest places first, `by_chance` any. The areas under the curves, 0-1, say how faithful maps are: the
    smaller that of `by_heat` beside that of `by_chance`, the better.
    """

    pictures: int
    by_heat: tuple[float, ...]
    by_chance: tuple[float, ...]

    @property
    def areas(self) -> tuple[float, float]:
        """The areas under both curves, by the trapezoidal rule."""
        first, second = (
            sum((a + b) / 2 for a, b in pairwise(curve)) / (len(curve) - 1) for curve in (self.by_heat, self.by_chance)
        )
        return first, second


@dataclass(frozen=True, slots=True)
class AverageMap:
    """Where a model looks for one emotion, over `pictures`.

    `heat` is float32, (size, size), 0-1; `picture` the mean picture, uint8, (size, size, 3); `thirds` the shares of the heat in
    the upper, the middle and the lower third.
    """

    pictures: int
    heat: Floats = field(repr=False, compare=False)
    picture: Pixels = field(repr=False, compare=False)
    thirds: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Explained:
    """What a model saw in one picture for one emotion: the picture as it was given, uint8 (size, size, 3), and its heat map."""

    emotion: str
    probability: float
    method: str
    picture: Pixels = field(repr=False, compare=False)
    heat: Floats = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ExplainedData:
    """What a model sees in a data set: average maps by emotion, and how far the maps can be believed."""

    method: str
    averages: Mapping[str, AverageMap]
    deletion: Deletion


@dataclass(frozen=True, slots=True)
class Trained:
    """A training that has ended: where its checkpoint is, its epochs, and how good it is on pictures that it never saw."""

    path: Path
    name: str
    parameters: int
    history: tuple[Epoch, ...]
    tested: Evaluation | None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a comparison: a variant on a data set under a split, with one seed.

    `accuracy_mean` and `accuracy_best` are over the epochs on the validation part, as the study printed them, `accuracy_train`
    the last epoch's on what was trained on; the `test_` measures are of the finished checkpoint on pictures that neither the
    weights nor any choice saw, in the mean over `divisions` (folds, or groups held out in turn). Accuracies are 0-1;
    `chance` is what blind guessing gets of balanced accuracy; `images_per_second` is inference alone, preprocessing left out.
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
    """Somebody who follows a comparison."""

    def cell(self, number: int, total: int, title: str, known: bool) -> None:
        """One training of the grid begins; `known` where its result is there from an earlier run."""

    def epoch(self, epoch: Epoch) -> None:
        """An epoch of it has ended."""


class TrainingWatcher(Protocol):
    """Somebody who follows a training."""

    def data(self, inspection: Inspection, parts: Mapping[str, int], split: str) -> None:
        """What is about to be trained on, how many pictures each part has, and the split's name."""

    def resumed(self) -> None:
        """An interrupted training goes on where it was."""

    def epoch(self, epoch: Epoch) -> None:
        """An epoch has ended."""


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
