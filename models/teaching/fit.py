"""Refit a model's last layer to what a person says, as far as held-out labels show that it helps."""

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
_SHARES = (0.3, 0.6, 0.9)
_ANCHORS = (0.01, 0.001, 0.0001)
_MIDDLING = RefitSettings(share=0.6, anchor=0.001)
"""What readings are compared under."""

_SURELY = 1.64
"""Standard deviations above chance that one in twenty who guess would reach."""

_COMPARED_BESIDE = 500
"""Remembered examples, evenly from all, that readings and settings are compared beside; the head itself keeps to all of them."""

_ALIKE = 0.98
"""Cosine similarity from which two pictures are one: both go to the same fold."""


@dataclass(frozen=True, slots=True)
class FitResult:
    """A refitted head, how it was refitted, and what held-out labels say of it: balanced accuracy `before` and `after`.

    `reading` is the number of the way of reading embeddings that it is for, `tested` how many labels could be held out. `head`
    is None where it would not be clearly better than the old one.
    """

    head: Head | None
    reading: int
    pull: RefitSettings
    before: float
    after: float
    tested: int


def teach(
    old: Head,
    readings: Sequence[Floats],
    labels: Sequence[str],
    remembered: Examples,
    said_before: Sequence[str],
    check_stop: Callable[[], None],
) -> FitResult:
    """Refit a head to N labelled embeddings, each of the `readings` of which it could read, (N, D), the first the plain one.
    `said_before` is what the model says of each until now.

    Every reading, and then every setting, is tried on the same folds, near-duplicates together; what makes held-out labels
    likeliest is taken, and the accuracies are those of the same folds, so that `after` is a little optimistic. The new head is
    given only where more held-out labels are right than were, and than guessing among these emotions would get right, both by
    more than chance: the old one guesses among all that it knows, so that whatever learns which labels occur would beat it.

    Emotions with one label are learned, but cannot be held out. Deterministic. `check_stop` is called now and then, and may
    raise. Raises UsageError where fewer than two emotions can be held out.
    """
    start = old.with_labels(sorted(set(labels)))
    numbers = np.array([start.labels.index(label) for label in labels], dtype=np.int64)
    targets = one_hot(numbers, len(start.labels))
    new = [Examples(torch.from_numpy(vectors), targets) for vectors in readings]
    kept = _widened(remembered, len(start.labels))
    some_kept = kept.take(np.arange(0, len(kept), max(1, len(kept) // _COMPARED_BESIDE)))
    folds, tested = _folds(readings[0] / np.linalg.norm(readings[0], axis=1, keepdims=True), numbers)
    if len(np.unique(numbers[tested])) < 2:
        raise UsageError("Two emotions need two labelled pictures each that are not nearly the same; label a few more.")

    def held_out(reading: int, pull: RefitSettings) -> Floats:
        logits = np.zeros((len(numbers), len(start.labels)), dtype=np.float32)
        for fold in range(folds.max() + 1):
            check_stop()
            head = refit(start, new[reading].take(np.flatnonzero(folds != fold)), some_kept, pull)
            logits[folds == fold] = head.logits(readings[reading][folds == fold])
        return logits

    def surprise(logits: Floats) -> float:
        return _log_loss(logits[tested], numbers[tested])

    reading = min(range(len(readings)), key=lambda reading: surprise(held_out(reading, _MIDDLING)))
    pulls = [RefitSettings(share, anchor) for share, anchor in product(_SHARES, _ANCHORS)]
    trials = [(pull, held_out(reading, pull)) for pull in bar(pulls, desc="Learning", unit="way", leave=False)]
    pull, logits = min(trials, key=lambda trial: surprise(trial[1]))
    old_right = np.array([label == said for label, said in zip(labels, said_before, strict=True)])[tested]
    new_right = (logits.argmax(axis=1) == numbers)[tested]
    before, after = _balanced(old_right, numbers[tested]), _balanced(new_right, numbers[tested])
    if _mcnemar_z(old_right, new_right) <= 1 or _z_above_chance(new_right, numbers[tested]) <= _SURELY:
        return FitResult(None, reading, pull, before, after, int(tested.sum()))
    head = refit(start, new[reading], kept, pull).with_temperature(fit_temperature(logits[tested], numbers[tested]))
    return FitResult(head, reading, pull, before, after, int(tested.sum()))


def one_hot(numbers: Ids, count: int) -> torch.Tensor:
    """Label numbers, (N,), as targets, float32, (N, count)."""
    return torch.nn.functional.one_hot(torch.from_numpy(numbers), count).float()


def _widened(remembered: Examples, count: int) -> Examples:
    missing = count - remembered.targets.shape[1]
    return Examples(remembered.vectors, torch.nn.functional.pad(remembered.targets, (0, missing)))


def _folds(vectors: Floats, numbers: Ids) -> tuple[Ids, Truths]:
    """The fold of each example, and which ones count: those whose emotion is in two folds at least.

    Stratified: pictures of one emotion, near-duplicates as one, are dealt to the folds in turn.
    """
    first = np.arange(len(numbers))
    for row in range(len(numbers)):
        first[row] = np.flatnonzero(vectors[: row + 1] @ vectors[row] >= _ALIKE)[0] if row else 0
    folds = np.zeros(len(numbers), dtype=np.int64)
    dealt = 0
    for label in np.unique(numbers):
        for one in np.random.default_rng(0).permutation(np.unique(first[numbers == label])):
            folds[first == one] = dealt % _FOLDS
            dealt += 1
    several = [label for label in np.unique(numbers) if len(np.unique(folds[numbers == label])) > 1]
    folds = np.unique(folds, return_inverse=True)[1]
    return folds, np.isin(numbers, several)


def _log_loss(logits: Floats, numbers: Ids) -> float:
    """How unlikely the labels are: mean cross-entropy."""
    return float(torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(numbers)))


def _mcnemar_z(old_right: Truths, new_right: Truths) -> float:
    """How many more are right than were, in standard deviations of a coin thrown for every one that changed (McNemar 1947)."""
    won, lost = int((new_right & ~old_right).sum()), int((old_right & ~new_right).sum())
    return (won - lost) / max(1.0, math.sqrt(won + lost))


def _z_above_chance(right: Truths, numbers: Ids) -> float:
    """How far balanced accuracy lies above that of guessing, in its standard deviations."""
    counts = np.unique(numbers, return_counts=True)[1]
    chance = 1 / len(counts)
    deviation = chance * math.sqrt(chance * (1 - chance) * float((1 / counts).sum()))
    return (_balanced(right, numbers) - chance) / deviation


def _balanced(right: Truths, numbers: Ids) -> float:
    return float(np.mean([right[numbers == label].mean() for label in np.unique(numbers)]))
