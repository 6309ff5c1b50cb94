"""The last layer of a model: computes probabilities from stored embeddings, and can be refitted in seconds. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Floats

    Doubles = npt.NDArray[np.float64]

_STEPS = 60
"""Most iterations of L-BFGS. It stores the directions of all of them."""


@dataclass(frozen=True, slots=True)
class Examples:
    """N examples for a head.

    - `vectors`: inputs of the head, float32, (N, D).
    - `targets`: probabilities that it should predict, float32, (N, labels); rows sum to 1.
    """

    vectors: Floats
    targets: Floats

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: npt.ArrayLike) -> Examples:
        """Return the examples in the given rows, in that order."""
        numbers = np.asarray(rows, dtype=np.int64)
        return Examples(self.vectors[numbers], self.targets[numbers])


@dataclass(frozen=True, slots=True)
class Head:
    """A linear layer that computes logits: `matrix` float32, (labels, D), and `bias` float32, (labels,)."""

    labels: tuple[str, ...]
    matrix: Floats
    bias: Floats

    def logits(self, vectors: Floats) -> Floats:
        """Return the logits, float32, (N, labels), of inputs of the head, float32, (N, D)."""
        logits: Floats = vectors @ self.matrix.T + self.bias
        return logits

    def probabilities(self, vectors: Floats) -> Floats:
        """Return the probabilities, float32, (N, labels), of inputs of the head, float32, (N, D); rows sum to 1."""
        probabilities: Floats = softmax(self.logits(vectors), axis=1)
        return probabilities

    def with_temperature(self, temperature: float) -> Head:
        """Return a head whose logits are divided by a temperature, which is positive."""
        divisor = np.float32(temperature)
        return replace(self, matrix=self.matrix / divisor, bias=self.bias / divisor)

    def with_labels(self, labels: Sequence[str]) -> Head:
        """Return a head that has these labels too; a new label has weights of 0 and the lowest bias of the old labels."""
        new = [label for label in labels if label not in self.labels]
        matrix = np.pad(self.matrix, ((0, len(new)), (0, 0)))
        bias = np.pad(self.bias, (0, len(new)), constant_values=self.bias.min())
        return Head((*self.labels, *new), matrix, bias)


@dataclass(frozen=True, slots=True)
class RefitSettings:
    """The weights of the terms of the loss of `refit`.

    - `new_weight`: weight of the new examples, 0-1; the replay set has the rest.
    - `anchor`: weight of the squared distance from the old head.
    """

    new_weight: float
    anchor: float


def refit(old: Head, new: Examples, replay: Examples, settings: RefitSettings) -> Head:
    """Fit a head to new examples and a replay set, close to the old head.

    The loss is cross-entropy plus a quadratic penalty on the distance from the old weights (L2-SP, Li et al., arXiv:1802.01483).
    The loss is convex; L-BFGS minimizes it, in double precision. Deterministic.
    """
    start = np.concatenate([old.matrix, old.bias[:, None]], axis=1).astype(np.float64)
    shares = ((new, settings.new_weight), (replay, 1 - settings.new_weight))
    terms = [_Term.of(examples, share) for examples, share in shares if len(examples) and share]

    def loss(flat: Doubles) -> tuple[float, Doubles]:
        weights = flat.reshape(start.shape)
        distance = weights - start
        total, gradient = settings.anchor * float((distance**2).sum()), 2 * settings.anchor * distance
        for term in terms:
            total += term.add_to(gradient, weights)
        return total, gradient.ravel()

    # The products are small: on a busy machine, threads would mostly wait for each other. One thread also adds in one order.
    with threadpool_limits(1, "blas"):
        options = {"maxiter": _STEPS, "maxcor": _STEPS, "gtol": 1e-7, "ftol": 1e-12}
        fitted = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options).x.reshape(start.shape)
    return Head(old.labels, fitted[:, :-1].astype(np.float32), fitted[:, -1].astype(np.float32))


@dataclass(frozen=True, slots=True)
class _Term:
    """The mean cross-entropy of some examples, times a share, as a term of a loss.

    - `inputs`: inputs of the head with a column of ones for the bias, float64, (N, D + 1).
    - `targets`: as in `Examples`, float64, times the share of each example.
    """

    inputs: Doubles
    targets: Doubles

    @classmethod
    def of(cls, examples: Examples, share: float) -> _Term:
        vectors = examples.vectors.astype(np.float64)
        inputs = np.concatenate([vectors, np.ones((len(vectors), 1))], axis=1)
        return cls(inputs, examples.targets.astype(np.float64) * (share / len(vectors)))

    def add_to(self, gradient: Doubles, weights: Doubles) -> float:
        """Return the term for weights, (labels, D + 1), and add its derivative to `gradient` of the same shape."""
        logarithms: Doubles = log_softmax(self.inputs @ weights.T, axis=1)
        probabilities = self.targets.sum(axis=1, keepdims=True) * np.exp(logarithms)
        gradient += (probabilities - self.targets).T @ self.inputs
        return -float((self.targets * logarithms).sum())
