"""The last layer of a model by itself: computes probabilities from stored embeddings, and is refitted in seconds."""

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


@dataclass(frozen=True, slots=True)
class Examples:
    """N embeddings with their targets.

    `vectors` is float32, (N, D), as a head reads them; `targets` is float32, (N, labels), rows sum to 1.
    """

    vectors: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: npt.ArrayLike) -> Examples:
        """Return the examples of some rows."""
        chosen = torch.as_tensor(np.asarray(rows, dtype=np.int64))
        return Examples(self.vectors[chosen], self.targets[chosen])


@dataclass(frozen=True, slots=True)
class Head:
    """A linear layer on embeddings: `matrix` float32, (labels, D), `bias` float32, (labels,)."""

    labels: tuple[str, ...]
    matrix: Tensor
    bias: Tensor

    def logits(self, vectors: Floats) -> Floats:
        """Return logits, float32, (N, labels), of embeddings as a head reads them, (N, D)."""
        with torch.inference_mode():
            found: Floats = functional.linear(torch.from_numpy(vectors), self.matrix, self.bias).numpy()
        return found

    def probabilities(self, vectors: Floats) -> Floats:
        """Return probabilities, float32, (N, labels), rows sum to 1, of embeddings as a head reads them, (N, D)."""
        with torch.inference_mode():
            found: Floats = functional.linear(torch.from_numpy(vectors), self.matrix, self.bias).softmax(dim=1).numpy()
        return found

    def with_temperature(self, temperature: float) -> Head:
        """Return a head whose logits are divided by a temperature."""
        return replace(self, matrix=self.matrix / temperature, bias=self.bias / temperature)

    def with_labels(self, labels: Sequence[str]) -> Head:
        """Return a head with more labels, whose weights are 0 and whose bias is the lowest one."""
        new = [label for label in labels if label not in self.labels]
        matrix = torch.cat([self.matrix, torch.zeros(len(new), self.matrix.shape[1])])
        bias = torch.cat([self.bias, self.bias.min().expand(len(new))])
        return Head((*self.labels, *new), matrix, bias)


@dataclass(frozen=True, slots=True)
class RefitSettings:
    """How a head is refitted.

    - `new_weight`: share of the loss on the new examples, 0-1; the rest is on the replay set.
    - `anchor`: factor of the squared distance from the old head, which is added to the loss.
    """

    new_weight: float
    anchor: float


def refit(old: Head, new: Examples, replay: Examples, settings: RefitSettings) -> Head:
    """Fit a head to new examples and a replay set, close to the old head. Deterministic.

    The loss is cross-entropy with a quadratic penalty on the distance from the old weights (L2-SP, Li et al., arXiv:1802.01483).
    It is convex; L-BFGS minimizes it.
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
    """Compute in one thread: for many small products, threads that wait for each other are ten times slower on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
