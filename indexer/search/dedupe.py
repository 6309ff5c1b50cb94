"""Near-duplicates among hits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.domain.models import StoredModel
    from indexer.domain.types import Floats, Halves


_INITIAL_ROWS = 256
NEARLY_EQUAL = 0.995
NEARLY_EQUAL_IN_SPACES = 0.965
"""Cosine similarity, of whole embeddings, from which `dedupe` takes two pictures for one. With spaces for what is felt and how it
looks, copies that were made smaller and saved again lie at 0.967 and above, other pictures at 0.86 and below.
"""


class Distinct:
    """Remembers vectors and says whether another one is new, that is, not nearly equal to any of them."""

    def __init__(self, model: StoredModel) -> None:
        self._least = NEARLY_EQUAL_IN_SPACES if model.card.spaces else NEARLY_EQUAL
        self._kept: Floats | None = None
        self._count = 0

    def take(self, vector: Halves) -> bool:
        """Whether the embedding (float16) is new; it is remembered then."""
        import numpy as np

        candidate = vector.astype(np.float32)
        candidate /= np.linalg.norm(candidate)
        if self._kept is None:
            self._kept = np.empty((_INITIAL_ROWS, len(candidate)), dtype=np.float32)
        if self._count and float(np.max(self._kept[: self._count] @ candidate)) >= self._least:
            return False
        if self._count == len(self._kept):
            self._kept = np.concatenate([self._kept, np.empty_like(self._kept)])
        self._kept[self._count] = candidate
        self._count += 1
        return True
