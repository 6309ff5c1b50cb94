"""The projection of embeddings to two dimensions: t-SNE by openTSNE (docs/adr/0016-map.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.settings import available_cores
from indexer.system.optional import require

if TYPE_CHECKING:
    from indexer.domain.types import Floats

_STEPS = 750
_EARLY_STEPS = 250
_REPORT_EVERY_STEPS = 10
_PERPLEXITY = 30.0
_MIN_ROWS = 10
"""Fewer vectors have too few neighbors for t-SNE; their two principal components are enough."""

_NEIGHBORS = 10
"""A further vector gets the median position of this many of the fitted ones that are nearest."""

_SEED = 0


class TsneProjector:
    """Implements `indexer.ports.maps.Projector`. Raises MissingExtra if openTSNE is not installed."""

    steps = _STEPS

    def __init__(self) -> None:
        require("openTSNE", "openTSNE", "map", "Making a map")

    def fit(self, vectors: Floats, advance: Callable[[int], None]) -> TsneProjection | PrincipalComponents:
        if len(vectors) < _MIN_ROWS:
            advance(_STEPS)
            return PrincipalComponents(vectors)
        return TsneProjection(_fitted(vectors, advance))


class TsneProjection:
    """Implements `indexer.ports.maps.Projection` by a fitted embedding of openTSNE."""

    def __init__(self, embedding: Any) -> None:
        self._embedding = embedding
        self.positions: Floats = np.asarray(embedding, dtype=np.float32)

    def place(self, vectors: Floats) -> Floats:
        # Few neighbors, and no optimization: it would take as long as the fit, for points that are near others anyway.
        nearest = min(_NEIGHBORS, len(self.positions) - 1)
        placed = self._embedding.prepare_partial(vectors, initialization="median", k=nearest, perplexity=nearest / 3)
        return np.asarray(placed, dtype=np.float32)


class PrincipalComponents:
    """Implements `indexer.ports.maps.Projection` by the first two principal components."""

    def __init__(self, vectors: Floats) -> None:
        self._mean = vectors.mean(axis=0)
        _, _, axes = np.linalg.svd(vectors - self._mean, full_matrices=False)
        self._axes = axes[:2]
        self.positions = self.place(vectors)

    def place(self, vectors: Floats) -> Floats:
        placed = np.zeros((len(vectors), 2), dtype=np.float32)
        placed[:, : len(self._axes)] = (vectors - self._mean) @ self._axes.T
        return placed


def _fitted(vectors: Floats, advance: Callable[[int], None]) -> Any:
    """Return the embedding of openTSNE for at least `_MIN_ROWS` vectors. They have length 1, so distance is likeness."""
    from openTSNE import TSNE

    def report(_iteration: int, _error: float, _embedding: Any) -> bool:
        advance(_REPORT_EVERY_STEPS)
        return False

    return TSNE(
        perplexity=min(_PERPLEXITY, (len(vectors) - 1) / 3),
        initialization="pca",
        early_exaggeration_iter=_EARLY_STEPS,
        n_iter=_STEPS - _EARLY_STEPS,
        random_state=_SEED,
        n_jobs=available_cores(),
        callbacks=report,
        callbacks_every_iters=_REPORT_EVERY_STEPS,
    ).fit(vectors)
