"""How good predictions are, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.domain.training import ByLabel, Evaluation
from indexer.system.optional import require
from models.training.calibration import fit_temperature

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Ids

_BINS = 15
_RESAMPLES = 1000
_SURE = 1e-12


def evaluate(probabilities: Floats, truth: Ids, labels: Sequence[str]) -> Evaluation:
    """Compare probabilities, (N, labels), with the true label numbers, int64, (N,). N >= 1. Raises MissingExtra."""
    require("sklearn", "scikit-learn", "train", "Evaluating")
    from sklearn.metrics import precision_recall_fscore_support

    numbers = np.arange(len(labels))
    guessed = probabilities.argmax(axis=1)
    each = precision_recall_fscore_support(truth, guessed, labels=numbers, zero_division=0)
    per_class = {
        label: ByLabel(float(precision), float(recall), float(f1), int(support))
        for label, precision, recall, f1, support in zip(labels, *each, strict=True)
    }
    present = [one for one in per_class.values() if one.support]
    return Evaluation(
        n=len(truth),
        accuracy=float(np.mean(guessed == truth)),
        balanced_accuracy=float(np.mean([one.recall for one in present])),
        macro_f1=float(np.mean([one.f1 for one in present])),
        ece=calibration_error(probabilities, truth),
        chance=1 / len(present),
        per_class=per_class,
        labels=tuple(labels),
        confusion=_confusion(truth, guessed, len(labels)),
        reliability=reliability(probabilities, truth),
    )


def with_intervals(evaluation: Evaluation, probabilities: Floats, truth: Ids, seed: int = 0) -> Evaluation:
    """The same with 95% intervals (percentile bootstrap over pictures, 1000 resamples) and the temperature that fits best.

    The intervals take pictures as independent: those of one character are not, and true intervals are wider.
    """
    random = np.random.default_rng(seed)
    count, guessed = len(evaluation.labels), probabilities.argmax(axis=1)
    found: dict[str, list[float]] = {"accuracy": [], "balanced_accuracy": [], "macro_f1": []}
    for _ in range(_RESAMPLES):
        rows = random.integers(0, len(truth), len(truth))
        confusion = _confusion(truth[rows], guessed[rows], count)
        hits, true, said = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
        there = true > 0
        found["accuracy"].append(hits.sum() / len(truth))
        found["balanced_accuracy"].append(float(np.mean(hits[there] / true[there])))
        found["macro_f1"].append(float(np.mean(2 * hits[there] / (true + said)[there])))
    intervals = {name: (float(np.quantile(each, 0.025)), float(np.quantile(each, 0.975))) for name, each in found.items()}
    temperature = fit_temperature(np.log(probabilities + _SURE), truth)
    return replace(evaluation, intervals=intervals, temperature=temperature)


def evaluate_subset(probabilities: Floats, truth: Ids, labels: Sequence[str], allowed: Sequence[str]) -> Evaluation:
    """Evaluate the pictures whose label is one of `allowed`, guessing only among those of them that occur.

    Raises ValueError where none occurs.
    """
    numbers = [number for number, label in enumerate(labels) if label in allowed and np.any(truth == number)]
    if not numbers:
        raise ValueError(f"none of the pictures is {' or '.join(allowed)}")
    chosen = np.isin(truth, numbers)
    part = probabilities[chosen][:, numbers].astype(np.float64) + _SURE
    part = (part / part.sum(axis=1, keepdims=True)).astype(np.float32)
    return evaluate(part, np.searchsorted(numbers, truth[chosen]), [labels[number] for number in numbers])


def calibration_error(probabilities: Floats, truth: Ids) -> float:
    """Expected calibration error: |accuracy - confidence| averaged over 15 equal bins of the highest probability, by their size.

    After Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599.
    """
    return sum(abs(accuracy - confidence) * count for confidence, accuracy, count in reliability(probabilities, truth)) / len(
        truth
    )


def reliability(probabilities: Floats, truth: Ids) -> tuple[tuple[float, float, int], ...]:
    """(mean confidence, accuracy, pictures) of each of 15 equal bins of the highest probability that is not empty."""
    confidence: np.ndarray[Any, Any] = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    rows = [np.flatnonzero(bins == one) for one in range(_BINS)]
    return tuple((float(np.mean(confidence[r], dtype=np.float64)), float(np.mean(right[r])), len(r)) for r in rows if len(r))


def _confusion(truth: Ids, guessed: Ids, count: int) -> Ids:
    """How often each label, (N,), was guessed for each: int64, (count, count), rows true."""
    return np.bincount(truth * count + guessed, minlength=count * count).reshape(count, count)
