"""Metrics of predictions: accuracy, F1, calibration error, confusion, their intervals, and the same by artist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.domain.training import ByArtist, ByLabel, Evaluation
from indexer.system.optional import require
from models.training.calibration import fit_temperature

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Floats, Ids

_CONFIDENCE_BINS = 15
_BOOTSTRAP_RESAMPLES = 1000
MIN_PROBABILITY = 1e-12
"""Added to probabilities before a logarithm or a division."""


def evaluate(probabilities: Floats, truth: Ids, labels: Sequence[str]) -> Evaluation:
    """Compare predictions with true labels.

    `probabilities` are float32, (N, labels), N >= 1; `truth` true label numbers, int64, (N,). Means over labels are over those
    that occur. Raises MissingExtra if scikit-learn is not installed.
    """
    require("sklearn", "scikit-learn", "train", "Evaluating")
    from sklearn.metrics import precision_recall_fscore_support

    numbers = np.arange(len(labels))
    predicted = probabilities.argmax(axis=1)
    scores = precision_recall_fscore_support(truth, predicted, labels=numbers, zero_division=0)
    per_class = {
        label: ByLabel(float(precision), float(recall), float(f1), int(support))
        for label, precision, recall, f1, support in zip(labels, *scores, strict=True)
    }
    occurring = [by_label for by_label in per_class.values() if by_label.support]
    return Evaluation(
        n=len(truth),
        accuracy=float(np.mean(predicted == truth)),
        balanced_accuracy=float(np.mean([by_label.recall for by_label in occurring])),
        macro_f1=float(np.mean([by_label.f1 for by_label in occurring])),
        ece=calibration_error(probabilities, truth),
        chance=1 / len(occurring),
        per_class=per_class,
        labels=tuple(labels),
        confusion=_confusion(truth, predicted, len(labels)),
        reliability=reliability(probabilities, truth),
    )


def with_intervals(evaluation: Evaluation, probabilities: Floats, truth: Ids, seed: int = 0) -> Evaluation:
    """Add 95% intervals, by the percentile bootstrap over images with 1000 resamples, and the best temperature.

    `probabilities` and `truth` are those of `evaluate`. The bootstrap assumes independent images. The images of one character
    are not independent, so the true intervals are wider.
    """
    temperature = fit_temperature(np.log(probabilities + MIN_PROBABILITY), truth)
    intervals = _image_intervals(probabilities.argmax(axis=1), truth, len(evaluation.labels), seed)
    return replace(evaluation, intervals=intervals, temperature=temperature)


def evaluate_by_artist(
    probabilities: Floats, truth: Ids, labels: Sequence[str], artists: Sequence[str], seed: int = 0
) -> ByArtist | None:
    """Compare predictions with true labels, artist by artist; return None for a single artist.

    `artists` names the artist of each image, (N,); the other arguments are those of `evaluate`. The intervals of an artist are by
    a bootstrap over images, as in `with_intervals`. Those of the means are by a bootstrap over artists: they tell how much the
    mean would change with other artists. With few artists they are too narrow. Raises MissingExtra.
    """
    rows_by_artist: dict[str, list[int]] = {name: [] for name in sorted(set(artists))}
    if len(rows_by_artist) == 1:
        return None
    for row, name in enumerate(artists):
        rows_by_artist[name].append(row)
    evaluations = {}
    for name, rows in rows_by_artist.items():
        intervals = _image_intervals(probabilities[rows].argmax(axis=1), truth[rows], len(labels), seed)
        evaluations[name] = replace(evaluate(probabilities[rows], truth[rows], labels), intervals=intervals)
    shape = _BOOTSTRAP_RESAMPLES, len(evaluations)
    samples = np.random.default_rng(seed).integers(0, len(evaluations), shape)
    means, intervals_of_means = {}, {}
    for measure in ("accuracy", "balanced_accuracy", "ece"):
        values = np.array([getattr(evaluation, measure) for evaluation in evaluations.values()])
        means[measure] = float(values.mean())
        intervals_of_means[measure] = _interval(values[samples].mean(axis=1))
    return ByArtist(evaluations, means, intervals_of_means)


def _image_intervals(predicted: Ids, truth: Ids, count: int, seed: int) -> dict[str, tuple[float, float]]:
    """Return the 95% intervals of accuracy, balanced accuracy and macro-F1 by the bootstrap of `with_intervals`.

    `predicted` and `truth` are numbers of `count` labels, int64, (N,).
    """
    random = np.random.default_rng(seed)
    samples: dict[str, list[float]] = {"accuracy": [], "balanced_accuracy": [], "macro_f1": []}
    for _ in range(_BOOTSTRAP_RESAMPLES):
        rows = random.integers(0, len(truth), len(truth))
        confusion = _confusion(truth[rows], predicted[rows], count)
        hits, true_counts, predicted_counts = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
        occurs = true_counts > 0
        samples["accuracy"].append(hits.sum() / len(truth))
        samples["balanced_accuracy"].append(float(np.mean(hits[occurs] / true_counts[occurs])))
        samples["macro_f1"].append(float(np.mean(2 * hits[occurs] / (true_counts + predicted_counts)[occurs])))
    return {name: _interval(each) for name, each in samples.items()}


def _interval(samples: npt.ArrayLike) -> tuple[float, float]:
    """Return the 2.5% and 97.5% quantile of the samples of a bootstrap."""
    low, high = np.quantile(np.asarray(samples), (0.025, 0.975)).tolist()
    return low, high


def evaluate_subset(probabilities: Floats, truth: Ids, labels: Sequence[str], allowed: Sequence[str]) -> Evaluation:
    """Evaluate the images with `allowed` labels, with predictions restricted to the allowed labels that occur.

    The other arguments are those of `evaluate`. Raises ValueError if no allowed label occurs.
    """
    numbers = [number for number, label in enumerate(labels) if label in allowed and np.any(truth == number)]
    if not numbers:
        raise ValueError(f"none of the images is {' or '.join(allowed)}")
    is_allowed = np.isin(truth, numbers)
    part = probabilities[is_allowed][:, numbers].astype(np.float64) + MIN_PROBABILITY
    part = (part / part.sum(axis=1, keepdims=True)).astype(np.float32)
    return evaluate(part, np.searchsorted(numbers, truth[is_allowed]), [labels[number] for number in numbers])


def calibration_error(probabilities: Floats, truth: Ids) -> float:
    """Return the expected calibration error, 0-1.

    It is the mean of |accuracy - confidence| over the bins of `reliability`, weighted by their numbers of images (Guo et al.,
    "On Calibration of Modern Neural Networks", arXiv:1706.04599). Arguments are those of `reliability`.
    """
    bins = reliability(probabilities, truth)
    return sum(abs(accuracy - confidence) * count for confidence, accuracy, count in bins) / len(truth)


def reliability(probabilities: Floats, truth: Ids) -> tuple[tuple[float, float, int], ...]:
    """Return the mean confidence, accuracy and number of images of each bin.

    The 15 bins divide the confidence, which is the highest probability, into equal intervals; empty bins are omitted.
    `probabilities` are float32, (N, labels); `truth` true label numbers, int64, (N,).
    """
    confidence: np.ndarray[Any, Any] = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * _CONFIDENCE_BINS).astype(int), _CONFIDENCE_BINS - 1)
    rows = [np.flatnonzero(bins == number) for number in range(_CONFIDENCE_BINS)]
    return tuple((float(np.mean(confidence[r], dtype=np.float64)), float(np.mean(right[r])), len(r)) for r in rows if len(r))


def _confusion(truth: Ids, predicted: Ids, count: int) -> Ids:
    """Count the images by true label (rows) and predicted label (columns): int64, (count, count)."""
    return np.bincount(truth * count + predicted, minlength=count * count).reshape(count, count)
