"""Near-duplicates among hits: images that look the same, whatever their size and format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from indexer.domain.models import NEARLY_EQUAL, NEARLY_EQUAL_IN_SPACES

if TYPE_CHECKING:
    from indexer.domain.models import StoredModel
    from indexer.domain.types import Floats, Halves

_INITIAL_ROWS = 256

_CANDIDATE_SIMILARITY = 0.9
"""Minimum cosine similarity of two embeddings whose fingerprints are compared."""


class Distinct:
    """A list of embeddings, with their fingerprints, without near-duplicates.

    Two images are near-duplicates if their fingerprints are, see `indexer.domain.fingerprints`. Without the fingerprint of one of
    them, they are if their embeddings are nearly equal; those of two expressions of one character often are.
    """

    def __init__(self, model: StoredModel) -> None:
        self._nearly_equal = NEARLY_EQUAL_IN_SPACES if model.card.spaces else NEARLY_EQUAL
        self._rows: Floats | None = None
        self._fingerprints: list[bytes | None] = []
        self._numbers: list[int] = []

    def __len__(self) -> int:
        return len(self._fingerprints)

    def find(self, vectors: Floats, fingerprints: list[bytes | None]) -> list[int | None]:
        """Return the number of the first entry of which each embedding is a near-duplicate; None without such an entry.

        `vectors` are float32, (N, embedding size), of length 1.
        """
        import numpy as np

        if self._rows is None:
            return [None] * len(vectors)
        similarities = vectors @ self._rows[: len(self)].T
        near = similarities >= min(_CANDIDATE_SIMILARITY, self._nearly_equal)
        found: list[int | None] = [None] * len(vectors)
        for row in np.flatnonzero(near.any(axis=1)).tolist():
            entries = np.flatnonzero(near[row]).tolist()
            same = (at for at in entries if self._equals(at, fingerprints[row], similarities[row, at]))
            found[row] = next((self._numbers[at] for at in same), None)
        return found

    def add(self, vector: Floats, fingerprint: bytes | None, number: int) -> None:
        """Add an embedding, float32, (embedding size,), of length 1, under a number of the caller."""
        import numpy as np

        if self._rows is None:
            self._rows = np.empty((_INITIAL_ROWS, len(vector)), dtype=np.float32)
        if len(self) == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[len(self)] = vector
        self._fingerprints.append(fingerprint)
        self._numbers.append(number)

    def _equals(self, entry: int, fingerprint: bytes | None, similarity: float) -> bool:
        from indexer.domain.fingerprints import show_the_same

        known = self._fingerprints[entry]
        if known is None or fingerprint is None:
            return similarity >= self._nearly_equal
        return show_the_same(known, fingerprint)


def unit_rows(vectors: list[Halves]) -> Floats:
    """Return embeddings as float32, (N, embedding size), of length 1."""
    import numpy as np

    rows = np.stack(vectors).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows
