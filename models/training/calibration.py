"""Temperature scaling, which calibrates probabilities without changing their order (Guo et al., arXiv:1706.04599)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from indexer.domain.types import Floats, Ids

_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.25, 10.0
_SEARCH_STEPS = 60
"""Steps of the ternary search, each of which reduces the interval by a third."""


def fit_temperature(logits: Floats, truth: Ids) -> float:
    """Return the temperature, 0.25-10, that maximizes the likelihood of the true labels.

    - `logits`: float32, (N, labels), N >= 1; logarithms of probabilities serve as logits. They are divided by the temperature.
    - `truth`: true label numbers, int64, (N,).

    The likelihood has a single maximum, which ternary search finds. The bounds matter for small sets without mistakes, whose
    best temperature is 0.
    """
    low, high = np.log(_MIN_TEMPERATURE), np.log(_MAX_TEMPERATURE)
    for _ in range(_SEARCH_STEPS):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        if _loss(logits, truth, np.exp(left)) <= _loss(logits, truth, np.exp(right)):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def scaled(logits: Floats, temperature: float) -> Floats:
    """Return the probabilities, float32, (N, labels), of logits, float32, (N, labels), that are divided by a temperature."""
    return np.exp(_log_softmax(logits, temperature)).astype(np.float32)


def fold_temperature(state: Mapping[str, Tensor], temperature: float, layer: str = "classifier") -> dict[str, Tensor]:
    """Return weights whose last layer is divided by the temperature.

    The softmax of its outputs is then calibrated. `state` are the weights by name, and `layer` is the name of the last layer.
    """
    return {name: tensor / temperature if name.startswith(f"{layer}.") else tensor for name, tensor in state.items()}


def _loss(logits: Floats, truth: Ids, temperature: float) -> float:
    return -float(_log_softmax(logits, temperature)[np.arange(len(truth)), truth].mean())


def _log_softmax(logits: Floats, temperature: float) -> npt.NDArray[np.float64]:
    divided: npt.NDArray[np.float64] = logits.astype(np.float64) / temperature
    divided -= divided.max(axis=1, keepdims=True)
    divided -= np.log(np.exp(divided).sum(axis=1, keepdims=True))
    return divided
