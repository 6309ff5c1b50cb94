"""Near-duplicates among hits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from indexer.domain.models import NEARLY_EQUAL, NEARLY_EQUAL_IN_SPACES

if TYPE_CHECKING:
    from indexer.domain.models import StoredModel
    from indexer.domain.types import Floats, Halves


_INITIAL_ROWS = 256


class Distinct:
    """A set of vectors without near-duplicates."""

    def __init__(self, model: StoredModel) -> None:
        self._min_similarity = NEARLY_EQUAL_IN_SPACES if model.card.spaces else NEARLY_EQUAL
        self._kept: Floats | None = None
        self._count = 0

    def take(self, vector: Halves) -> bool:
        """Add an embedding, float16, (embedding size,); return False if it is a near-duplicate of an earlier one."""
        import numpy as np

        candidate = vector.astype(np.float32)
        candidate /= np.linalg.norm(candidate)
        if self._kept is None:
            self._kept = np.empty((_INITIAL_ROWS, len(candidate)), dtype=np.float32)
        if self._count and float(np.max(self._kept[: self._count] @ candidate)) >= self._min_similarity:
            return False
        if self._count == len(self._kept):
            self._kept = np.concatenate([self._kept, np.empty_like(self._kept)])
        self._kept[self._count] = candidate
        self._count += 1
        return True
