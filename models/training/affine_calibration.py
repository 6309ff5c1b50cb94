"""Calibration of probabilities by a temperature and an offset for each label, fitted to labeled images.

It extends temperature scaling (Guo et al., arXiv:1706.04599) by the offsets of vector scaling, which a model needs whose
scores were not trained on the emotions. Priors keep both near those of the uncalibrated model where there are few images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Floats, Ids

    Doubles = npt.NDArray[np.float64]

_FOLDS = 5
_MIN_PROBABILITY = 1e-9
_BOUND = 3.0
"""Largest absolute logarithm of the temperature."""


class Calibration(NamedTuple):
    """Logits become logits / temperature + offsets, float32, (labels,)."""

    temperature: float
    offsets: Floats

    def apply(self, probabilities: Floats) -> Floats:
        """Return calibrated probabilities, float32, (N, labels)."""
        logits = log_of(probabilities) / self.temperature + self.offsets
        result: Floats = np.exp(log_softmax(logits, axis=1)).astype(np.float32)
        return result


class HeldOut(NamedTuple):
    """Mean log loss, in nats, on images that were not used for the fit, before and after."""

    before: float
    after: float


def fit(probabilities: Floats, truth: Ids) -> Calibration:
    """Fit a calibration to N >= 1 images; `truth` are label numbers, int64, (N,). Deterministic.

    Offsets and the logarithm of the temperature have normal priors with a standard deviation of 1.
    """
    logits, count = log_of(probabilities), probabilities.shape[1]
    rows = np.arange(len(truth))

    def loss(values: Doubles) -> float:
        scaled = logits / np.exp(values[0]) + values[1:]
        likelihood = -log_softmax(scaled, axis=1)[rows, truth].sum()
        return float(likelihood + 0.5 * (values**2).sum()) / len(truth)

    bounds = [(-_BOUND, _BOUND), *[(None, None)] * count]
    best = minimize(loss, np.zeros(1 + count), method="L-BFGS-B", bounds=bounds).x
    return Calibration(float(np.exp(best[0])), best[1:].astype(np.float32))


def cross_validate(probabilities: Floats, truth: Ids) -> HeldOut:
    """Return the log loss of N >= 2 images, each calibrated by a fit to the other folds."""
    folds = np.random.default_rng(0).permutation(len(truth)) % min(_FOLDS, len(truth))
    after = probabilities.copy()
    for fold in range(int(folds.max()) + 1):
        after[folds == fold] = fit(probabilities[folds != fold], truth[folds != fold]).apply(probabilities[folds == fold])
    return HeldOut(log_loss(probabilities, truth), log_loss(after, truth))


def log_loss(probabilities: Floats, truth: Ids) -> float:
    """Return the mean negative logarithm, in nats, of the probability of the true label."""
    return -float(log_of(probabilities)[np.arange(len(truth)), truth].mean())


def log_of(probabilities: Floats) -> Doubles:
    """Return logarithms, float64, which are finite."""
    logs: Doubles = np.log(probabilities.astype(np.float64) + _MIN_PROBABILITY)
    return logs
