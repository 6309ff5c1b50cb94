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

    def has(self, vector: Halves) -> bool:
        """Return whether an embedding, float16, (embedding size,), is a near-duplicate of one that was added."""
        if self._kept is None:
            return False
        return float((self._kept[: self._count] @ _unit(vector)).max()) >= self._min_similarity

    def take(self, vector: Halves) -> bool:
        """Add an embedding, float16, (embedding size,); return False if it is a near-duplicate of an earlier one."""
        import numpy as np

        if self.has(vector):
            return False
        candidate = _unit(vector)
        if self._kept is None:
            self._kept = np.empty((_INITIAL_ROWS, len(candidate)), dtype=np.float32)
        if self._count == len(self._kept):
            self._kept = np.concatenate([self._kept, np.empty_like(self._kept)])
        self._kept[self._count] = candidate
        self._count += 1
        return True


def _unit(vector: Halves) -> Floats:
    """Return an embedding as float32 of length 1."""
    import numpy as np

    wide = vector.astype(np.float32)
    unit: Floats = wide / np.linalg.norm(wide)
    return unit
