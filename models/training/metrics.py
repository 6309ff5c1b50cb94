"""Metrics of predictions."""

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
_BOOTSTRAP_RESAMPLES = 1000
_MIN_PROBABILITY = 1e-12


def evaluate(probabilities: Floats, truth: Ids, labels: Sequence[str]) -> Evaluation:
    """Compare probabilities, (N, labels), with true label numbers, int64, (N,). N >= 1. Raises MissingExtra."""
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
    """Add 95% intervals (percentile bootstrap over images, 1000 resamples) and the best temperature.

    The bootstrap assumes independent images. Images of one character are not, so true intervals are wider.
    """
    random = np.random.default_rng(seed)
    count, guessed = len(evaluation.labels), probabilities.argmax(axis=1)
    found: dict[str, list[float]] = {"accuracy": [], "balanced_accuracy": [], "macro_f1": []}
    for _ in range(_BOOTSTRAP_RESAMPLES):
        rows = random.integers(0, len(truth), len(truth))
        confusion = _confusion(truth[rows], guessed[rows], count)
        hits, true, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
        there = true > 0
        found["accuracy"].append(hits.sum() / len(truth))
        found["balanced_accuracy"].append(float(np.mean(hits[there] / true[there])))
        found["macro_f1"].append(float(np.mean(2 * hits[there] / (true + predicted)[there])))
    intervals = {name: (float(np.quantile(each, 0.025)), float(np.quantile(each, 0.975))) for name, each in found.items()}
    temperature = fit_temperature(np.log(probabilities + _MIN_PROBABILITY), truth)
    return replace(evaluation, intervals=intervals, temperature=temperature)


def evaluate_subset(probabilities: Floats, truth: Ids, labels: Sequence[str], allowed: Sequence[str]) -> Evaluation:
    """Evaluate the images whose label is in `allowed`, with predictions restricted to those of them that occur.

    Raises ValueError if none occurs.
    """
    numbers = [number for number, label in enumerate(labels) if label in allowed and np.any(truth == number)]
    if not numbers:
        raise ValueError(f"none of the images is {' or '.join(allowed)}")
    chosen = np.isin(truth, numbers)
    part = probabilities[chosen][:, numbers].astype(np.float64) + _MIN_PROBABILITY
    part = (part / part.sum(axis=1, keepdims=True)).astype(np.float32)
    return evaluate(part, np.searchsorted(numbers, truth[chosen]), [labels[number] for number in numbers])


def calibration_error(probabilities: Floats, truth: Ids) -> float:
    """Return the expected calibration error: mean of |accuracy - confidence| over 15 equal bins of confidence, by size.

    After Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599.
    """
    return sum(abs(accuracy - confidence) * count for confidence, accuracy, count in reliability(probabilities, truth)) / len(
        truth
    )


def reliability(probabilities: Floats, truth: Ids) -> tuple[tuple[float, float, int], ...]:
    """Return (mean confidence, accuracy, images) of each non-empty bin of 15 equal bins of confidence."""
    confidence: np.ndarray[Any, Any] = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    rows = [np.flatnonzero(bins == one) for one in range(_BINS)]
    return tuple((float(np.mean(confidence[r], dtype=np.float64)), float(np.mean(right[r])), len(r)) for r in rows if len(r))


def _confusion(truth: Ids, guessed: Ids, count: int) -> Ids:
    """Count the predictions by true label: int64, (count, count), rows are true labels."""
    return np.bincount(truth * count + guessed, minlength=count * count).reshape(count, count)
