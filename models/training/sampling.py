"""Sampling of batches, from the seed and the epoch only."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Ids
    from models.training.dataset import LabeledImages
    from models.training.recipe import Recipe


def steps_per_epoch(images: LabeledImages, recipe: Recipe) -> int:
    """Return the number of batches of an epoch."""
    return math.ceil((recipe.pictures_per_epoch or len(images)) / recipe.batch_size)


def batches(images: LabeledImages, recipe: Recipe, epoch: int) -> Ids:
    """Return the rows of each batch of an epoch, int64, (steps, batch size).

    Without balance, every image comes once before any comes twice; with balance, images are drawn by weight.
    """
    random = np.random.default_rng((recipe.seed, epoch))
    shape = (steps_per_epoch(images, recipe), recipe.batch_size)
    if recipe.balance:
        return random.choice(len(images), size=shape, p=sampling_weights(images, recipe.balance))
    rounds = math.ceil(shape[0] * shape[1] / len(images))
    line = np.concatenate([random.permutation(len(images)) for _ in range(rounds)])
    return line[: shape[0] * shape[1]].reshape(shape)


def sampling_weights(images: LabeledImages, balance: float) -> npt.NDArray[np.float64]:
    """Return the probability of drawing each image, (N,): balanced over sets within an emotion, then over emotions.

    A cell (emotion and set) has the weight of its size to the power of 1 - balance, an emotion that of the sum of its cells to
    the same power. At a balance of 0.5 rare cells are drawn more often than they occur, without repeating a few images.
    """
    cells = [(int(label), source.name) for label, source in zip(images.labels, images.sources, strict=True)]
    sizes = Counter(cells)
    emotions: dict[int, float] = {}
    for (label, _), size in sizes.items():
        emotions[label] = emotions.get(label, 0.0) + size ** (1 - balance)
    weights: npt.NDArray[np.float64] = np.array([sizes[cell] ** -balance * emotions[cell[0]] ** -balance for cell in cells])
    weights /= weights.sum()
    return weights
