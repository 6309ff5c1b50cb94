"""Refitting the last layer to the labels of a user, if held-out labels show that it helps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch

from indexer.domain.errors import UsageError
from models.progress_bar import bar
from models.teaching.linear_head import Examples, Head, RefitSettings, refit
from models.training.calibration import fit_temperature

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Floats, Ids

    Truths = npt.NDArray[np.bool_]

_FOLDS = 5
_NEW_WEIGHTS = (0.3, 0.6, 0.9)
_ANCHORS = (0.01, 0.001, 0.0001)
_COMPARED_WITH = RefitSettings(new_weight=0.6, anchor=0.001)
"""Settings under which readings are compared."""

_CHANCE_Z = 1.64
"""Standard deviations above chance that guessing reaches in one of twenty cases."""

_REPLAY_COMPARED = 500
"""Replay examples, evenly spaced, with which readings and settings are compared; the final head is fitted with all of them."""

_DUPLICATE_COSINE = 0.98
"""Cosine similarity from which two images count as one: both are in the same fold."""


@dataclass(frozen=True, slots=True)
class FitResult:
    """A refitted head with its measurements.

    - `head`: None if it is not clearly better than the old one.
    - `reading`: number of the reading that it takes as input.
    - `before`, `after`: balanced accuracy of the old and the new head on held-out labels, 0-1.
    - `tested`: number of labels that could be held out.
    """

    head: Head | None
    reading: int
    settings: RefitSettings
    before: float
    after: float
    tested: int


def teach(
    old: Head,
    readings: Sequence[Floats],
    labels: Sequence[str],
    replay: Examples,
    predicted: Sequence[str],
    check_stop: Callable[[], None],
) -> FitResult:
    """Refit a head to N labeled embeddings.

    - `readings`: the embeddings in each form that a head could read, (N, D); the first is the plain one.
    - `predicted`: label of each embedding by the model so far.
    - `check_stop`: called between fits; may raise.

    All readings, and then all settings, are compared by cross-validation on the same folds, near-duplicates in one fold; the
    lowest loss on held-out labels wins. The accuracies are of the same folds, so `after` is slightly optimistic.

    The result has a new head only if that head is clearly better, by more than chance, than the old one and than guessing among
    the emotions of the labels. The second condition is needed because the old head chooses among all its labels, so that any
    head that knows which labels occur would win.

    An emotion with a single label is learned, but cannot be held out. Deterministic. Raises UsageError if fewer than two
    emotions can be held out.
    """
    start = old.with_labels(sorted(set(labels)))
    numbers = np.array([start.labels.index(label) for label in labels], dtype=np.int64)
    replay = _with_label_count(replay, len(start.labels))
    folds, tested = _folds(readings[0] / np.linalg.norm(readings[0], axis=1, keepdims=True), numbers)
    if len(np.unique(numbers[tested])) < 2:
        raise UsageError("Label more images: at least two emotions need two images each that are not near-duplicates.")
    sample = replay.take(np.arange(0, len(replay), max(1, len(replay) // _REPLAY_COMPARED)))
    validation = _CrossValidation(start, readings, numbers, sample, folds, check_stop)

    reading = min(range(len(readings)), key=lambda number: validation.loss(validation.logits(number, _COMPARED_WITH), tested))
    grid = [RefitSettings(new_weight, anchor) for new_weight, anchor in product(_NEW_WEIGHTS, _ANCHORS)]
    trials = [(one, validation.logits(reading, one)) for one in bar(grid, desc="learning", unit="setting", leave=False)]
    settings, logits = min(trials, key=lambda trial: validation.loss(trial[1], tested))

    truth = numbers[tested]
    old_right = np.array([label == before for label, before in zip(labels, predicted, strict=True)])[tested]
    new_right = (logits.argmax(axis=1) == numbers)[tested]
    head = None
    if _mcnemar_z(old_right, new_right) > 1 and _z_above_chance(new_right, truth) > _CHANCE_Z:
        head = refit(start, validation.examples(reading), replay, settings)
        head = head.with_temperature(fit_temperature(logits[tested], truth))
    return FitResult(
        head=head,
        reading=reading,
        settings=settings,
        before=_balanced(old_right, truth),
        after=_balanced(new_right, truth),
        tested=int(tested.sum()),
    )


@dataclass(frozen=True, slots=True)
class _CrossValidation:
    """Heads that are fitted to all folds but one, and applied to that one. `numbers` and `folds` are int64, (N,)."""

    start: Head
    readings: Sequence[Floats]
    numbers: Ids
    replay: Examples
    folds: Ids
    check_stop: Callable[[], None]

    def examples(self, reading: int) -> Examples:
        return Examples(torch.from_numpy(self.readings[reading]), one_hot(self.numbers, len(self.start.labels)))

    def logits(self, reading: int, settings: RefitSettings) -> Floats:
        """Return the logits of each held-out example, float32, (N, labels)."""
        examples = self.examples(reading)
        logits = np.zeros((len(self.numbers), len(self.start.labels)), dtype=np.float32)
        for fold in range(self.folds.max() + 1):
            self.check_stop()
            head = refit(self.start, examples.take(np.flatnonzero(self.folds != fold)), self.replay, settings)
            logits[self.folds == fold] = head.logits(self.readings[reading][self.folds == fold])
        return logits

    def loss(self, logits: Floats, tested: Truths) -> float:
        """Return the mean cross-entropy of the tested examples."""
        return _log_loss(logits[tested], self.numbers[tested])


def one_hot(numbers: Ids, count: int) -> torch.Tensor:
    """Return label numbers, (N,), as targets, float32, (N, count)."""
    return torch.nn.functional.one_hot(torch.from_numpy(numbers), count).float()


def _with_label_count(examples: Examples, count: int) -> Examples:
    missing = count - examples.targets.shape[1]
    return Examples(examples.vectors, torch.nn.functional.pad(examples.targets, (0, missing)))


def _folds(vectors: Floats, numbers: Ids) -> tuple[Ids, Truths]:
    """Return the fold of each example, and which examples are tested: those whose emotion is in at least two folds.

    Stratified: the examples of an emotion, near-duplicates as one, are assigned to the folds in turn.
    """
    first = np.arange(len(numbers))
    for row in range(len(numbers)):
        first[row] = np.flatnonzero(vectors[: row + 1] @ vectors[row] >= _DUPLICATE_COSINE)[0] if row else 0
    folds = np.zeros(len(numbers), dtype=np.int64)
    assigned = 0
    for label in np.unique(numbers):
        for one in np.random.default_rng(0).permutation(np.unique(first[numbers == label])):
            folds[first == one] = assigned % _FOLDS
            assigned += 1
    several = [label for label in np.unique(numbers) if len(np.unique(folds[numbers == label])) > 1]
    folds = np.unique(folds, return_inverse=True)[1]
    return folds, np.isin(numbers, several)


def _log_loss(logits: Floats, numbers: Ids) -> float:
    """Return the mean cross-entropy of the labels."""
    return float(torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(numbers)))


def _mcnemar_z(old_right: Truths, new_right: Truths) -> float:
    """Return how many more are right than before, in standard deviations of a fair coin per changed example (McNemar 1947)."""
    won, lost = int((new_right & ~old_right).sum()), int((old_right & ~new_right).sum())
    return (won - lost) / max(1.0, math.sqrt(won + lost))


def _z_above_chance(right: Truths, numbers: Ids) -> float:
    """Return how far the balanced accuracy is above that of guessing, in standard deviations of guessing."""
    counts = np.unique(numbers, return_counts=True)[1]
    chance = 1 / len(counts)
    deviation = chance * math.sqrt(chance * (1 - chance) * float((1 / counts).sum()))
    return (_balanced(right, numbers) - chance) / deviation


def _balanced(right: Truths, numbers: Ids) -> float:
    return float(np.mean([right[numbers == label].mean() for label in np.unique(numbers)]))
