"""Spherical k-means: groups of unit vectors (Dhillon and Modha 2001)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Ids

_ITERATIONS = 10
_MIN_NORM = 1e-12
_MIN_SAMPLING_WEIGHT = 1e-12
"""Keeps the sum of the weights positive if every vector equals a center."""


def spherical_kmeans(vectors: Floats, count: int, covered: Floats | None = None) -> Floats:
    """Return the centers of `count` groups of unit vectors.

    - `vectors`: unit vectors, float32, (N, D), N >= 1.
    - `covered`: centers of further groups, which do not move: unit vectors, float32, (M, D).

    Returns unit vectors, float32, (count, D). Deterministic.
    """
    fixed = vectors[:0] if covered is None else covered
    centers = _initial_centers(vectors, fixed, count)
    for _ in range(_ITERATIONS):
        groups = (vectors @ np.concatenate([centers, fixed]).T).argmax(axis=1)
        for group in range(count):
            if (groups == group).any():
                total = vectors[groups == group].sum(axis=0)
                centers[group] = total / max(float(np.linalg.norm(total)), _MIN_NORM)
    return centers


def pick_representatives(vectors: Floats, covered: Floats, count: int) -> Ids:
    """Pick the vector nearest to the center of each group that no `covered` vector represents.

    `vectors` and `covered` are as in `spherical_kmeans`, but N may be 0. Returns the rows of min(count, N) different vectors,
    int64.
    """
    count = min(count, len(vectors))
    if count == 0:
        return np.empty(0, dtype=np.int64)
    similarity = vectors @ spherical_kmeans(vectors, count, covered).T
    rows: list[int] = []
    for group in range(count):
        order = np.argsort(-similarity[:, group], kind="stable")
        rows.append(next(int(row) for row in order if int(row) not in rows))
    return np.array(rows, dtype=np.int64)


def _initial_centers(vectors: Floats, covered: Floats, count: int) -> Floats:
    """Choose initial centers far from each other and from `covered` by k-means++.

    Arthur and Vassilvitskii 2007; the distance is 1 - cosine similarity.
    """
    random = np.random.default_rng(0)
    greatest_similarity = np.full(len(vectors), -1.0, dtype=np.float32)
    for vector in covered:
        np.maximum(greatest_similarity, vectors @ vector, out=greatest_similarity)
    centers = np.empty((count, vectors.shape[1]), dtype=np.float32)
    for number in range(count):
        weights = np.clip(1 - greatest_similarity, 0, None).astype(np.float64) ** 2 + _MIN_SAMPLING_WEIGHT
        centers[number] = vectors[random.choice(len(vectors), p=weights / weights.sum())]
        np.maximum(greatest_similarity, vectors @ centers[number], out=greatest_similarity)
    return centers
