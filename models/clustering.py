"""Groups of unit vectors that lie close together, by spherical k-means (Dhillon and Modha 2001)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Ids

_ROUNDS = 10


def spherical_kmeans(vectors: Floats, count: int, covered: Floats | None = None) -> Floats:
    """The middles of `count` groups of unit vectors, (N, D): unit vectors, (count, D), beside those that are `covered`, (M, D),
    whose groups stay where they are. Deterministic.
    """
    fixed = vectors[:0] if covered is None else covered
    centres = _spread(vectors, fixed, count)
    for _ in range(_ROUNDS):
        groups = (vectors @ np.concatenate([centres, fixed]).T).argmax(axis=1)
        for group in range(count):
            if (groups == group).any():
                middle = vectors[groups == group].sum(axis=0)
                centres[group] = middle / max(float(np.linalg.norm(middle)), 1e-12)
    return centres


def pick_representatives(vectors: Floats, covered: Floats, count: int) -> Ids:
    """Rows of unit vectors, (N, D), one for each of `count` groups of them that no `covered` vector, (M, D), stands for."""
    count = min(count, len(vectors))
    if count == 0:
        return np.empty(0, dtype=np.int64)
    near = vectors @ spherical_kmeans(vectors, count, covered).T
    rows: list[int] = []
    for group in range(count):
        order = np.argsort(-near[:, group], kind="stable")
        rows.append(next(int(row) for row in order if int(row) not in rows))
    return np.array(rows, dtype=np.int64)


def _spread(vectors: Floats, covered: Floats, count: int) -> Floats:
    """First centres, far from each other and from what is covered: k-means++ (Arthur and Vassilvitskii 2007)."""
    random = np.random.default_rng(0)
    nearest = np.full(len(vectors), -1.0, dtype=np.float32)
    for vector in covered:
        np.maximum(nearest, vectors @ vector, out=nearest)
    centres = np.empty((count, vectors.shape[1]), dtype=np.float32)
    for number in range(count):
        far = np.clip(1 - nearest, 0, None).astype(np.float64) ** 2 + 1e-12
        centres[number] = vectors[random.choice(len(vectors), p=far / far.sum())]
        np.maximum(nearest, vectors @ centres[number], out=nearest)
    return centres
