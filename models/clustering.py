"""Spherical k-means (Dhillon and Modha 2001): groups of unit vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Ids

_ITERATIONS = 10


def spherical_kmeans(vectors: Floats, count: int, covered: Floats | None = None) -> Floats:
    """Return the centers of `count` groups of unit vectors, (N, D): unit vectors, (count, D). Deterministic.

    `covered` vectors, (M, D), are fixed centers of further groups.
    """
    fixed = vectors[:0] if covered is None else covered
    centers = _initial_centers(vectors, fixed, count)
    for _ in range(_ITERATIONS):
        groups = (vectors @ np.concatenate([centers, fixed]).T).argmax(axis=1)
        for group in range(count):
            if (groups == group).any():
                middle = vectors[groups == group].sum(axis=0)
                centers[group] = middle / max(float(np.linalg.norm(middle)), 1e-12)
    return centers


def pick_representatives(vectors: Floats, covered: Floats, count: int) -> Ids:
    """Return `count` rows of unit vectors, (N, D), one per group that no `covered` vector, (M, D), represents."""
    count = min(count, len(vectors))
    if count == 0:
        return np.empty(0, dtype=np.int64)
    near = vectors @ spherical_kmeans(vectors, count, covered).T
    rows: list[int] = []
    for group in range(count):
        order = np.argsort(-near[:, group], kind="stable")
        rows.append(next(int(row) for row in order if int(row) not in rows))
    return np.array(rows, dtype=np.int64)


def _initial_centers(vectors: Floats, covered: Floats, count: int) -> Floats:
    """Choose initial centers far from each other and from `covered`: k-means++ (Arthur and Vassilvitskii 2007)."""
    random = np.random.default_rng(0)
    nearest = np.full(len(vectors), -1.0, dtype=np.float32)
    for vector in covered:
        np.maximum(nearest, vectors @ vector, out=nearest)
    centers = np.empty((count, vectors.shape[1]), dtype=np.float32)
    for number in range(count):
        far = np.clip(1 - nearest, 0, None).astype(np.float64) ** 2 + 1e-12
        centers[number] = vectors[random.choice(len(vectors), p=far / far.sum())]
        np.maximum(nearest, vectors @ centers[number], out=nearest)
    return centers
