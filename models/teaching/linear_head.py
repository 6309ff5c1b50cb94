"""The last layer of a model: computes probabilities from stored embeddings, and can be refitted in seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Floats

_STEPS = 60
"""Most iterations of L-BFGS."""


@dataclass(frozen=True, slots=True)
class Examples:
    """N examples for a head.

    - `vectors`: inputs of the head, float32, (N, D).
    - `targets`: probabilities that it should predict, float32, (N, labels); rows sum to 1.
    """

    vectors: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: npt.ArrayLike) -> Examples:
        """Return the examples in the given rows, in that order."""
        numbers = torch.as_tensor(np.asarray(rows, dtype=np.int64))
        return Examples(self.vectors[numbers], self.targets[numbers])


@dataclass(frozen=True, slots=True)
class Head:
    """A linear layer that computes logits: `matrix` float32, (labels, D), and `bias` float32, (labels,), on the CPU."""

    labels: tuple[str, ...]
    matrix: Tensor
    bias: Tensor

    def logits(self, vectors: Floats) -> Floats:
        """Return the logits, float32, (N, labels), of inputs of the head, float32, (N, D)."""
        with torch.inference_mode():
            logits: Floats = functional.linear(torch.from_numpy(vectors), self.matrix, self.bias).numpy()
        return logits

    def probabilities(self, vectors: Floats) -> Floats:
        """Return the probabilities, float32, (N, labels), of inputs of the head, float32, (N, D); rows sum to 1."""
        with torch.inference_mode():
            probabilities: Floats = functional.linear(torch.from_numpy(vectors), self.matrix, self.bias).softmax(dim=1).numpy()
        return probabilities

    def with_temperature(self, temperature: float) -> Head:
        """Return a head whose logits are divided by a temperature, which is positive."""
        return replace(self, matrix=self.matrix / temperature, bias=self.bias / temperature)

    def with_labels(self, labels: Sequence[str]) -> Head:
        """Return a head that has these labels too; a new label has weights of 0 and the lowest bias of the old labels."""
        new = [label for label in labels if label not in self.labels]
        matrix = torch.cat([self.matrix, torch.zeros(len(new), self.matrix.shape[1])])
        bias = torch.cat([self.bias, self.bias.min().expand(len(new))])
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
    The loss is convex; L-BFGS minimizes it. Deterministic.
    """
    matrix, bias = (part.clone().requires_grad_(True) for part in (old.matrix, old.bias))
    optimizer = torch.optim.LBFGS([matrix, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")
    parts = [
        (examples, share)
        for examples, share in ((new, settings.new_weight), (replay, 1 - settings.new_weight))
        if len(examples) and share
    ]

    def loss() -> Tensor:
        optimizer.zero_grad()
        total = settings.anchor * ((matrix - old.matrix).square().sum() + (bias - old.bias).square().sum())
        for examples, share in parts:
            logits = functional.linear(examples.vectors, matrix, bias)
            total = total + share * functional.cross_entropy(logits, examples.targets)
        total.backward()  # type: ignore[no-untyped-call]
        return total

    with one_thread():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    return Head(old.labels, matrix.detach(), bias.detach())


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute in one thread.

    On a busy machine, many small products take ten times as long in several threads, because the threads wait for each other.
    """
    previous = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(previous)
