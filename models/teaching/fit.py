"""Refitting of the last layer to labels, if held-out labels show that it helps.

An input form is what a last layer reads: plain embeddings, or embeddings minus the style baseline. This module imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_softmax

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
"""Values of `RefitSettings.new_weight` that are compared."""

_ANCHORS = (0.01, 0.001, 0.0001)
"""Values of `RefitSettings.anchor` that are compared."""

_INPUT_FORM_SETTINGS = RefitSettings(new_weight=0.6, anchor=0.001)
"""Settings with which input forms are compared."""

_MIN_Z_CHANGED = 1.0
"""Least excess, in standard deviations, of predictions that become right over those that become wrong; see `_mcnemar_z`."""

_MIN_Z_ABOVE_CHANCE = 1.64
"""Standard deviations above chance that guessing exceeds in one of twenty cases; see `_z_above_chance`."""

_COMPARED_REPLAY_EXAMPLES = 500
"""Replay examples, evenly spaced, with which input forms and settings are compared; the final head is fitted with all of them."""

_MIN_DUPLICATE_COSINE = 0.98
"""Cosine similarity from which two images are near-duplicates, which are always in the same fold."""


@dataclass(frozen=True, slots=True)
class FitResult:
    """A refitted head with its measurements.

    - `head`: the new head; None if it is not clearly better than the old one.
    - `input_form`: number of the input form with the lowest loss, from 0.
    - `settings`: settings with the lowest loss.
    - `before`, `after`: balanced accuracy of the old and the new head on held-out labels, 0-1.
    - `tested`: number of labels that could be held out.
    """

    head: Head | None
    input_form: int
    settings: RefitSettings
    before: float
    after: float
    tested: int


def teach(
    old: Head,
    input_forms: Sequence[Floats],
    labels: Sequence[str],
    replay: Examples,
    predicted: Sequence[str],
    check_stop: Callable[[], None],
) -> FitResult:
    """Refit a head to N labeled embeddings.

    - `input_forms`: the embeddings in each input form, float32, (N, D); the first is the plain one.
    - `labels`: the label of each embedding by the user.
    - `replay`: examples of the training, which the new head must not forget.
    - `predicted`: the label of each embedding by the old head.
    - `check_stop`: called between fits; may raise.

    Cross-validation compares all input forms, and then all settings, on the same folds, and takes those with the lowest loss on
    held-out labels. Near-duplicates are in one fold. The accuracies are measured on the same folds, so `after` is slightly
    optimistic.

    The result has a new head only if that head is better, by more than chance, than the old head and than guessing among the
    emotions of the labels. The second condition is necessary because the old head chooses among all its labels: any head that
    knows which labels occur would be better.

    A new head learns an emotion with a single label, but that label cannot be held out. Deterministic. Raises UsageError if
    fewer than two emotions can be held out.
    """
    start = old.with_labels(sorted(set(labels)))
    numbers = np.array([start.labels.index(label) for label in labels], dtype=np.int64)
    replay = _with_label_count(replay, len(start.labels))
    folds, tested = _folds(input_forms[0] / np.linalg.norm(input_forms[0], axis=1, keepdims=True), numbers)
    if len(np.unique(numbers[tested])) < 2:
        raise UsageError("Label more images: at least two emotions need two images each that are not near-duplicates.")
    sample = replay.take(np.arange(0, len(replay), max(1, len(replay) // _COMPARED_REPLAY_EXAMPLES)))
    validation = _CrossValidation(start, input_forms, numbers, sample, folds, check_stop)

    input_form = min(
        range(len(input_forms)), key=lambda number: validation.loss(validation.logits(number, _INPUT_FORM_SETTINGS), tested)
    )
    grid = [RefitSettings(new_weight, anchor) for new_weight, anchor in product(_NEW_WEIGHTS, _ANCHORS)]
    trials = [
        (settings, validation.logits(input_form, settings))
        for settings in bar(grid, desc="learning", unit="setting", leave=False)
    ]
    settings, logits = min(trials, key=lambda trial: validation.loss(trial[1], tested))

    truth = numbers[tested]
    old_right = np.array([label == before for label, before in zip(labels, predicted, strict=True)])[tested]
    new_right = (logits.argmax(axis=1) == numbers)[tested]
    head = None
    if _mcnemar_z(old_right, new_right) > _MIN_Z_CHANGED and _z_above_chance(new_right, truth) > _MIN_Z_ABOVE_CHANCE:
        head = refit(start, validation.examples(input_form), replay, settings)
        head = head.with_temperature(fit_temperature(logits[tested], truth))
    return FitResult(
        head=head,
        input_form=input_form,
        settings=settings,
        before=_balanced_accuracy(old_right, truth),
        after=_balanced_accuracy(new_right, truth),
        tested=int(tested.sum()),
    )


@dataclass(frozen=True, slots=True)
class _CrossValidation:
    """Cross-validation of heads that start from `start`.

    - `numbers`: label number of each example, int64, (N,); `folds`: its fold, int64, (N,).
    - `input_forms`, `replay`, `check_stop`: as in `teach`.
    """

    start: Head
    input_forms: Sequence[Floats]
    numbers: Ids
    replay: Examples
    folds: Ids
    check_stop: Callable[[], None]

    def examples(self, input_form: int) -> Examples:
        """Return all examples in an input form."""
        return Examples(self.input_forms[input_form], one_hot(self.numbers, len(self.start.labels)))

    def logits(self, input_form: int, settings: RefitSettings) -> Floats:
        """Return the logits, float32, (N, labels), of each example by the head that was fitted to the other folds."""
        examples = self.examples(input_form)
        logits = np.zeros((len(self.numbers), len(self.start.labels)), dtype=np.float32)
        for fold in range(self.folds.max() + 1):
            self.check_stop()
            head = refit(self.start, examples.take(np.flatnonzero(self.folds != fold)), self.replay, settings)
            logits[self.folds == fold] = head.logits(self.input_forms[input_form][self.folds == fold])
        return logits

    def loss(self, logits: Floats, tested: Truths) -> float:
        """Return the mean cross-entropy, in nats, of the examples for which `tested`, (N,), is true."""
        return _log_loss(logits[tested], self.numbers[tested])


def one_hot(numbers: Ids, count: int) -> Floats:
    """Return label numbers, int64, (N,), as targets, float32, (N, count)."""
    return np.eye(count, dtype=np.float32)[numbers]


def _with_label_count(examples: Examples, count: int) -> Examples:
    """Return examples with targets for `count` labels; those of the added labels are 0."""
    missing = count - examples.targets.shape[1]
    return Examples(examples.vectors, np.pad(examples.targets, ((0, 0), (0, missing))))


def _folds(vectors: Floats, numbers: Ids) -> tuple[Ids, Truths]:
    """Return the fold of each example, int64, (N,), and which examples are tested, bool, (N,).

    `vectors` are unit vectors, float32, (N, D). Stratified: the examples of an emotion, near-duplicates as one, are assigned to
    the folds in turn. An example is tested if the examples of its emotion are in at least two folds.
    """
    first_duplicates = np.arange(len(numbers))
    for row in range(len(numbers)):
        is_duplicate = vectors[: row + 1] @ vectors[row] >= _MIN_DUPLICATE_COSINE
        first_duplicates[row] = np.flatnonzero(is_duplicate)[0] if row else 0
    folds = np.zeros(len(numbers), dtype=np.int64)
    assigned = 0
    for label in np.unique(numbers):
        for first in np.random.default_rng(0).permutation(np.unique(first_duplicates[numbers == label])):
            folds[first_duplicates == first] = assigned % _FOLDS
            assigned += 1
    testable = [label for label in np.unique(numbers) if len(np.unique(folds[numbers == label])) > 1]
    folds = np.unique(folds, return_inverse=True)[1]
    return folds, np.isin(numbers, testable)


def _log_loss(logits: Floats, numbers: Ids) -> float:
    """Return the mean cross-entropy, in nats, of the labels."""
    return -float(log_softmax(logits, axis=1)[np.arange(len(numbers)), numbers].mean())


def _mcnemar_z(old_right: Truths, new_right: Truths) -> float:
    """Return the z statistic of McNemar's test (1947): how many more predictions became right than wrong.

    The unit is the standard deviation of that number if a fair coin decided each change.
    """
    became_right, became_wrong = int((new_right & ~old_right).sum()), int((old_right & ~new_right).sum())
    return (became_right - became_wrong) / max(1.0, math.sqrt(became_right + became_wrong))


def _z_above_chance(right: Truths, numbers: Ids) -> float:
    """Return the difference between the balanced accuracy and chance, in standard deviations of guessing.

    The recall of each of L emotions with n examples is a binomial share with variance chance * (1 - chance) / n, and the
    balanced accuracy is the mean of L recalls; chance is 1 / L.
    """
    counts = np.unique(numbers, return_counts=True)[1]
    chance = 1 / len(counts)
    deviation = chance * math.sqrt(chance * (1 - chance) * float((1 / counts).sum()))
    return (_balanced_accuracy(right, numbers) - chance) / deviation


def _balanced_accuracy(right: Truths, numbers: Ids) -> float:
    """Return the mean recall of the labels, 0-1."""
    return float(np.mean([right[numbers == label].mean() for label in np.unique(numbers)]))
