"""How good predictions are, in numbers. Needs numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from indexer.domain import Floats, Ids

_BINS = 15


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Measures over N pictures, each 0-1. `recall` is per label that occurs; `chance` the balance of blind guessing."""

    pictures: int
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    ece: float
    chance: float
    recall: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """The same as plain data, rounded to four places."""
        facts = asdict(self)
        facts["recall"] = {label: round(value, 4) for label, value in self.recall.items()}
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in facts.items()}


def evaluate(probabilities: Floats, truth: Ids, labels: Sequence[str]) -> Evaluation:
    """Compare probabilities, (N, labels), with the true label numbers, int64, (N,). N >= 1."""
    guessed = probabilities.argmax(axis=1)
    present = np.unique(truth)
    recall = {labels[label]: float(np.mean(guessed[truth == label] == label)) for label in present}
    return Evaluation(
        pictures=len(truth),
        accuracy=float(np.mean(guessed == truth)),
        balanced_accuracy=float(np.mean(list(recall.values()))),
        macro_f1=float(np.mean([_f1(guessed == label, truth == label) for label in present])),
        ece=calibration_error(probabilities, truth),
        chance=1 / len(present),
        recall=recall,
    )


def among(probabilities: Floats, truth: Ids, labels: Sequence[str], allowed: Sequence[str]) -> Evaluation:
    """Evaluate the pictures whose label is one of `allowed`, guessing only among those of them that occur.

    Raises ValueError where none occurs.
    """
    numbers = [number for number, label in enumerate(labels) if label in allowed and np.any(truth == number)]
    if not numbers:
        raise ValueError(f"none of the pictures is {' or '.join(allowed)}")
    chosen = np.isin(truth, numbers)
    part = probabilities[chosen][:, numbers].astype(np.float64) + 1e-12
    part = (part / part.sum(axis=1, keepdims=True)).astype(np.float32)
    return evaluate(part, np.searchsorted(numbers, truth[chosen]), [labels[number] for number in numbers])


def calibration_error(probabilities: Floats, truth: Ids) -> float:
    """Expected calibration error: |accuracy - confidence| averaged over 15 equal bins of the highest probability, by their size.

    After Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = [abs(float(np.sum(right[bins == one]) - np.sum(confidence[bins == one]))) for one in range(_BINS)]
    return sum(gaps) / len(truth)


def _f1(guessed: np.ndarray[Any, Any], true: np.ndarray[Any, Any]) -> float:
    total = int(guessed.sum()) + int(true.sum())
    return 2 * int((guessed & true).sum()) / total if total else 0.0
