"""A model's last layer on its own: stored embeddings in, probabilities out, refitted in a moment."""

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
    """N embeddings with what they feel.

    `vectors` is float32, (N, D), as a head reads them; `targets` float32, (N, labels), rows sum to 1.
    """

    vectors: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: npt.ArrayLike) -> Examples:
        """The examples of some rows."""
        chosen = torch.as_tensor(np.asarray(rows, dtype=np.int64))
        return Examples(self.vectors[chosen], self.targets[chosen])


@dataclass(frozen=True, slots=True)
class Head:
    """A linear layer on embeddings: `matrix` float32, (labels, D), `bias` float32, (labels,)."""

    labels: tuple[str, ...]
    matrix: Tensor
    bias: Tensor

    def logits(self, vectors: Floats) -> Floats:
        """float32, (N, labels), of embeddings as they are read, (N, D)."""
        with torch.inference_mode():
            found: Floats = functional.linear(torch.from_numpy(vectors), self.matrix, self.bias).numpy()
        return found

    def probabilities(self, vectors: Floats) -> Floats:
        """float32, (N, labels), rows sum to 1, of embeddings as they are read, (N, D)."""
        with torch.inference_mode():
            found: Floats = functional.linear(torch.from_numpy(vectors), self.matrix, self.bias).softmax(dim=1).numpy()
        return found

    def with_temperature(self, temperature: float) -> Head:
        """The same with logits divided by a temperature."""
        return replace(self, matrix=self.matrix / temperature, bias=self.bias / temperature)

    def with_labels(self, labels: Sequence[str]) -> Head:
        """The same with more labels, which it never says: they start from nothing, at the bias of the least sure one."""
        new = [label for label in labels if label not in self.labels]
        matrix = torch.cat([self.matrix, torch.zeros(len(new), self.matrix.shape[1])])
        bias = torch.cat([self.bias, self.bias.min().expand(len(new))])
        return Head((*self.labels, *new), matrix, bias)


@dataclass(frozen=True, slots=True)
class RefitSettings:
    """How a head is refitted: `share` of the loss is on the new examples, the rest on those remembered; `anchor` times the
    squared distance from the old head is added.
    """

    share: float
    anchor: float


def refit(old: Head, new: Examples, remembered: Examples, pull: RefitSettings) -> Head:
    """The head that does best on new examples and remembered ones and is not far from the old one. Deterministic.

    Cross-entropy with a quadratic pull towards the old weights (as L2-SP, Li et al., arXiv:1802.01483), which has one optimum;
    L-BFGS finds it.
    """
    matrix, bias = (part.clone().requires_grad_(True) for part in (old.matrix, old.bias))
    optimiser = torch.optim.LBFGS([matrix, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")
    parts = [
        (examples, share) for examples, share in ((new, pull.share), (remembered, 1 - pull.share)) if len(examples) and share
    ]

    def loss() -> Tensor:
        optimiser.zero_grad()
        total = pull.anchor * ((matrix - old.matrix).square().sum() + (bias - old.bias).square().sum())
        for examples, share in parts:
            logits = functional.linear(examples.vectors, matrix, bias)
            total = total + share * functional.cross_entropy(logits, examples.targets)
        total.backward()  # type: ignore[no-untyped-call]
        return total

    with one_thread():
        optimiser.step(loss)  # type: ignore[no-untyped-call]
    return Head(old.labels, matrix.detach(), bias.detach())


@contextmanager
def one_thread() -> Iterator[None]:
    """For much work in small pieces: threads that wait for each other take ten times as long where others use the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
