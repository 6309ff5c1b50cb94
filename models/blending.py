"""Blends of models: their probabilities averaged in logit space, with fitted weights and temperature.

The logit of an emotion is the mean of the logarithms of its probabilities by the models that know it, with their weights,
divided by the temperature. A blend has no network: it follows from stored predictions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from indexer.domain.emotions import OUTCOMES
from indexer.domain.errors import ModelUnavailable, UsageError
from models import checkpoint_arrays
from models.training.affine_calibration import log_loss, log_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.models import ModelCard
    from indexer.domain.types import Floats, Ids
    from indexer.ports.models import BlendExamples
    from models.checkpoint_arrays import Arrays

    Doubles = npt.NDArray[np.float64]

ARCHITECTURE = "blend:"
WEIGHTS, TEMPERATURE = "blend.weights", "blend.temperature"
LEAST_LABELS = 10
_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Blend:
    """A blend of M models with the labels `sources`: `weights`, (M,), sum to 1; `labels` are its own."""

    sources: tuple[tuple[str, ...], ...]
    labels: tuple[str, ...]
    weights: Doubles
    temperature: float

    @classmethod
    def of(cls, cards: Sequence[ModelCard], weights: Doubles | None = None, temperature: float = 1.0) -> Blend:
        """Return a blend of models; without `weights`, all count equally."""
        known = {label for card in cards for label in card.labels}
        own = [label for card in cards for label in card.labels if label not in OUTCOMES]
        labels = (*(label for label in OUTCOMES if label in known), *dict.fromkeys(own))
        equal = np.full(len(cards), 1 / len(cards))
        return cls(tuple(card.labels for card in cards), labels, equal if weights is None else weights, temperature)

    def combine(self, probabilities: Sequence[Floats]) -> Floats:
        """Return the probabilities of the blend, float32, (N, labels), from those of its models, float32, (N, labels of each)."""
        logits = self._mean_logits(self._logs(probabilities), self.weights) / self.temperature
        result: Floats = softmax(logits, axis=1).astype(np.float32)
        return result

    def fit(self, probabilities: Sequence[Floats], truth: Ids) -> Blend:
        """Return the blend with the weights and temperature that fit N images best; `truth` are label numbers, int64, (N,).

        The logarithms of the odds of the weights, and that of the temperature, have normal priors with a standard deviation of 1.
        """
        logs, rows = self._logs(probabilities), np.arange(len(truth))

        def loss(values: Doubles) -> float:
            logits = self._mean_logits(logs, softmax(values[1:])) / np.exp(values[0])
            return float(-log_softmax(logits, axis=1)[rows, truth].sum() + 0.5 * (values**2).sum()) / len(truth)

        best = minimize(loss, np.zeros(1 + len(logs)), method="L-BFGS-B").x
        return replace(self, weights=softmax(best[1:]), temperature=float(np.exp(best[0])))

    def held_out_loss(self, probabilities: Sequence[Floats], truth: Ids) -> float:
        """Return the log loss, in nats, of images that are left out of the fit in turn."""
        folds = np.random.default_rng(0).permutation(len(truth)) % _FOLDS
        predicted = np.zeros((len(truth), len(self.labels)), dtype=np.float32)
        for fold in range(_FOLDS):
            fitted = self.fit([each[folds != fold] for each in probabilities], truth[folds != fold])
            predicted[folds == fold] = fitted.combine([each[folds == fold] for each in probabilities])
        return log_loss(predicted, truth)

    def _logs(self, probabilities: Sequence[Floats]) -> Doubles:
        """Return the logarithms, (M, N, labels), NaN where a model does not know a label."""
        logs = np.full((len(self.sources), len(probabilities[0]), len(self.labels)), np.nan)
        for number, (labels, each) in enumerate(zip(self.sources, probabilities, strict=True)):
            logs[number][:, [self.labels.index(label) for label in labels]] = log_of(each)
        return logs

    @staticmethod
    def _mean_logits(logs: Doubles, weights: Doubles) -> Doubles:
        known = ~np.isnan(logs[:, :1])
        shares = weights[:, None, None] * known
        mean: Doubles = (np.where(known, logs, 0) * shares).sum(axis=0) / shares.sum(axis=0)
        return mean


def make_blend(
    folder: Path, name: str, cards: Sequence[ModelCard], examples: BlendExamples | None, weights: Sequence[float] | None
) -> tuple[ModelCard, Blend, dict[str, float]]:
    """Fit a blend to examples, or take the given weights, and write it; return its card, and held-out log losses by name.

    The blend has the embeddings of the first model. Raises UsageError for unusable weights and for too few examples,
    ModelUnavailable for a first model that cannot share its embeddings.
    """
    if not cards[0].backbone_digest:
        raise ModelUnavailable(f"The card of {cards[0].name!r} was written by an older moodex; name another model first.")
    blend, losses = Blend.of(cards), dict[str, float]()
    if weights is not None:
        blend = replace(blend, weights=_normalized(weights, len(cards)))
    elif examples is not None:
        blend, losses = _fitted(blend, cards, examples)
    members = tuple((card.name, card.key) for card in cards)
    keys = hashlib.blake2b(json.dumps([key for _, key in members]).encode(), digest_size=16).hexdigest()
    card = replace(
        cards[0],
        name=name,
        architecture=f"{ARCHITECTURE}{keys}",
        labels=blend.labels,
        hub=None,
        members=members,
        about={"blend_of": [member for member, _ in members]},
    )
    state = {WEIGHTS: blend.weights.astype(np.float32), TEMPERATURE: np.array([blend.temperature], dtype=np.float32)}
    path = checkpoint_arrays.save(folder, card, state)
    return checkpoint_arrays.load_all(path)[0], blend, losses


def open_blend(card: ModelCard, state: Arrays, cards: Sequence[ModelCard]) -> Callable[[Sequence[Floats]], Floats]:
    """Return the function that computes a blend from the probabilities of its models, whose cards are given."""
    return Blend.of(cards, state[WEIGHTS].astype(np.float64), float(state[TEMPERATURE][0])).combine


def _fitted(blend: Blend, cards: Sequence[ModelCard], examples: BlendExamples) -> tuple[Blend, dict[str, float]]:
    rows = [row for row, label in enumerate(examples.labels) if all(label in card.labels for card in cards)]
    if len(rows) < LEAST_LABELS or len({examples.labels[row] for row in rows}) < 2:
        raise UsageError(
            f"There are {len(rows)} labeled images that all models have predicted, of emotions that all know; weights need "
            f"{LEAST_LABELS} of two emotions. Label more, or give --weights."
        )
    probabilities = [each[rows] for each in examples.probabilities]
    truth = np.array([blend.labels.index(examples.labels[row]) for row in rows], dtype=np.int64)
    losses = {
        card.name: log_loss(each, np.array([card.labels.index(examples.labels[row]) for row in rows]))
        for card, each in zip(cards, probabilities, strict=True)
    }
    return blend.fit(probabilities, truth), {**losses, "blend": blend.held_out_loss(probabilities, truth)}


def _normalized(weights: Sequence[float], count: int) -> Doubles:
    values = np.array(weights, dtype=np.float64)
    if len(values) != count or not np.isfinite(values).all() or values.min() < 0 or values.sum() <= 0:
        raise UsageError(f"--weights takes auto, or {count} numbers that are not negative, such as {','.join(['1'] * count)}.")
    normalized: Doubles = values / values.sum()
    return normalized
