"""Results of training, evaluation, comparison and explanation, as plain records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Ids, Pixels

WHOLE_IMAGES = "whole"
"""Value of `faces` for images that are taken as a whole. Otherwise `faces` is the key of a face detector."""

FEW_IMAGES = 10
"""Images of an emotion below which its measurements mean little."""

MAX_IMBALANCE = 10
"""Ratio between the most and the least frequent emotion above which a data set is reported as unbalanced."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """Measurements of one epoch. Accuracies are 0-1; those of validation are None without a validation part."""

    number: int
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    validation_balanced: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Inspection:
    """The results of a check of a data set.

    - `pictures`: number of images; `counts`: images by emotion; `groups`: images by artist and emotion.
    - `words`: labels in the data by the emotion that they mean, with counts.
    - `unreadable`: files with the reason.
    - `copies`: images with the same bytes as an earlier one; `conflicts`: those of them with another emotion.
    - `near`: pairs that look the same though their bytes differ; `near_conflicts`: those with different emotions; `straddling`:
      those in different parts of the split.
    - `mixed_case`: labels that differ only in case.

    The field names are those of the JSON output.
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
        """Limits of measurements on this data, one sentence each."""
        found = []
        if few := [emotion for emotion, count in self.counts.items() if count < FEW_IMAGES]:
            found.append(
                f"Fewer than {FEW_IMAGES} images: {', '.join(f'{emotion} ({self.counts[emotion]})' for emotion in few)}."
            )
        most, least = max(self.counts.values()), min(self.counts.values())
        if most > MAX_IMBALANCE * least:
            found.append(f"Unbalanced: the most frequent emotion has {most / least:.0f} times the images of the least frequent.")
        if single := [group for group, counts in self.groups.items() if len(counts) == 1 and len(self.groups) > 1]:
            found.append(f"Only one emotion in {_shortened(single)}: measurements on it mean little.")
        if self.mixed_case:
            found.append(f"Labels that differ only in case were merged: {_shortened(list(self.mixed_case))}.")
        if self.unreadable:
            first, reason = self.unreadable[0]
            found.append(f"{len(self.unreadable)} files cannot be read, for example {first}: {reason}.")
        if self.conflicts:
            found.append(f"{self.conflicts} images are duplicates of one with another label.")
        if self.near_conflicts:
            found.append(f"{self.near_conflicts} pairs of images look the same and have different labels.")
        if self.straddling:
            found.append(f"{self.straddling} pairs of images that look the same are in different parts of the split.")
        return found

    def as_json(self) -> dict[str, Any]:
        """Return the record as plain data."""
        facts = asdict(self) | {"warnings": self.warnings}
        facts["unreadable"] = [{"path": str(path), "reason": reason} for path, reason in self.unreadable]
        return facts


@dataclass(frozen=True, slots=True)
class ByLabel:
    """Measurements of one label. Precision, recall and F1 are 0-1, and 0 if undefined; `support` counts its images."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Measurements over N images, each 0-1.

    - `balanced_accuracy`: mean recall, and `macro_f1` mean F1, of the labels that occur; `chance`: balanced accuracy of guessing.
    - `ece`: expected calibration error; `reliability`: (confidence, accuracy, images) of each non-empty bin of confidence.
    - `confusion`: int64, (labels, labels), rows are true labels, columns predictions.
    - `intervals`: 95% intervals by measure; empty if not computed.
    - `temperature`: would calibrate these probabilities best; 1 if they are calibrated.
    - `left_out`: images of emotions that the model does not know; they are in no measure.
    - `faces`: key of the face detector that cropped the images, or `WHOLE_IMAGES`.
    - `by_artist`: the same by artist; None if not computed, and for images of one artist.
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
    faces: str = WHOLE_IMAGES
    by_artist: ByArtist | None = None

    @property
    def recall(self) -> dict[str, float]:
        """Recall by label, of the labels that occur."""
        return {label: one.recall for label, one in self.per_class.items() if one.support}

    def brief_json(self) -> dict[str, Any]:
        """Return the measures over all labels as plain data, rounded to four places."""
        names = ("accuracy", "balanced_accuracy", "macro_f1", "ece", "chance")
        return {"n": self.n, **{name: round(getattr(self, name), 4) for name in names}}

    def as_json(self) -> dict[str, Any]:
        """Return the record as plain data, rounded to four places."""
        return {
            **self.brief_json(),
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
            "intervals": _rounded(self.intervals),
            "temperature": None if self.temperature is None else round(self.temperature, 4),
            "left_out": self.left_out,
            "faces": self.faces,
            "by_artist": None if self.by_artist is None else self.by_artist.as_json(),
        }


@dataclass(frozen=True, slots=True)
class ByArtist:
    """Measurements by artist, and their means, in which every artist counts equally.

    - `evaluations`: by artist, sorted by name, with intervals over the images of the artist.
    - `means`: by measure (accuracy, balanced_accuracy, ece), each 0-1; `intervals`: their 95% intervals over artists.
    """

    evaluations: Mapping[str, Evaluation]
    means: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]

    def as_json(self) -> dict[str, Any]:
        """Return the record as plain data, rounded to four places."""
        return {
            "artists": {
                artist: {**evaluation.brief_json(), "intervals": _rounded(evaluation.intervals)}
                for artist, evaluation in self.evaluations.items()
            },
            "mean": {name: round(mean, 4) for name, mean in self.means.items()} | {"intervals": _rounded(self.intervals)},
        }


@dataclass(frozen=True, slots=True)
class Mistake:
    """A misclassified image: its emotion, the predicted one, and the probability of the prediction (0-1)."""

    path: Path
    truth: str
    guess: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Deletion:
    """A deletion test: the mean probability of the target with 0, 1/16, ... 16/16 of each image blurred.

    - `images`: number of images.
    - `by_heat`: curve if the hottest cells are blurred first; `by_chance`: in random order.

    A smaller area under `by_heat` than under `by_chance` means that the maps are faithful.
    """

    images: int
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
    """The mean attribution map of one emotion over `images` images.

    - `heat`: float32, (size, size), 0-1; `image`: the mean image, uint8, (size, size, 3).
    - `thirds`: shares of the heat in the upper, middle and lower third.
    """

    images: int
    heat: Floats = field(repr=False, compare=False)
    image: Pixels = field(repr=False, compare=False)
    thirds: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Explained:
    """The explanation of one image for one emotion: the network's input, uint8 (size, size, 3), and its heat map.

    `frame` is the number, from 1, of the frame of an animation that was explained; None for a still image.
    """

    emotion: str
    probability: float
    method: str
    frame: int | None
    image: Pixels = field(repr=False, compare=False)
    heat: Floats = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ExplainedData:
    """The explanation of a data set: average maps by emotion, and a deletion test of the maps."""

    method: str
    averages: Mapping[str, AverageMap]
    deletion: Deletion


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training: its checkpoint, its epochs, and its measurements on images that it never saw."""

    path: Path
    name: str
    parameters: int
    history: tuple[Epoch, ...]
    tested: Evaluation | None


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One row of a comparison: a variant on a data set under a split, with one seed. Accuracies are 0-1.

    - `pictures`, `emotions`: numbers of images and emotions.
    - `accuracy_mean`, `accuracy_best`: over the epochs, on the validation part; `accuracy_train`: of the last epoch.
    - `test_*`: of the finished checkpoint on images that neither the weights nor any choice saw, averaged over `divisions`
      (folds, or groups held out in turn); `chance`: balanced accuracy of guessing.
    - `images_per_second`: inference without preprocessing.
    - `faces`: key of the face detector that cropped the images, or `WHOLE_IMAGES`.

    The field names are those of the JSON and CSV output.
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
    faces: str = WHOLE_IMAGES


class ComparisonWatcher(Protocol):
    """Receives the events of a comparison."""

    def cell(self, number: int, total: int, title: str, known: bool) -> None:
        """A training of the grid starts; `known` if an earlier run finished it."""

    def epoch(self, epoch: Epoch) -> None:
        """An epoch of that training has ended."""


class TrainingWatcher(Protocol):
    """Receives the events of a training."""

    def data(self, inspection: Inspection, parts: Mapping[str, int], split: str) -> None:
        """The data was checked and divided: `parts` are images by part, `split` is the name of the split."""

    def resumed(self) -> None:
        """An interrupted training resumes."""

    def epoch(self, epoch: Epoch) -> None:
        """An epoch has ended."""


def _rounded(intervals: Mapping[str, tuple[float, float]]) -> dict[str, list[float]]:
    return {name: [round(low, 4), round(high, 4)] for name, (low, high) in intervals.items()}


def _shortened(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


@dataclass(frozen=True, slots=True)
class ComparedModel:
    """A model in a comparison on the same labeled images.

    - `accuracy`, `balanced_accuracy`: 0-1, with the 95% interval of the accuracy.
    - `behind`: accuracy of the best model minus that of this one, with its 95% interval.
    """

    model: str
    images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    balanced_accuracy: float
    behind: float
    behind_interval: tuple[float, float]
