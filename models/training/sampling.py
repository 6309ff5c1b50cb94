"""Sampling of the images of each batch, which depends only on the seed and the epoch."""

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
    """Return the rows of the images of each batch: int64, (steps, batch size).

    `epoch` is its number, from 0. Without balance, no image is used twice before all images were used. With balance, images are
    drawn by their `sampling_weights`, with replacement.
    """
    random = np.random.default_rng((recipe.seed, epoch))
    shape = (steps_per_epoch(images, recipe), recipe.batch_size)
    if recipe.balance:
        return random.choice(len(images), size=shape, p=sampling_weights(images, recipe.balance))
    rounds = math.ceil(shape[0] * shape[1] / len(images))
    rows = np.concatenate([random.permutation(len(images)) for _ in range(rounds)])
    return rows[: shape[0] * shape[1]].reshape(shape)


def sampling_weights(images: LabeledImages, balance: float) -> npt.NDArray[np.float64]:
    """Return the probability of drawing each image, float64, (N,), which sum to 1.

    They are balanced over the sets of an emotion, and then over emotions; `balance` is 0-1. A cell is the images of an emotion
    in a set. Its weight is its number of images to the power of 1 - `balance`. The weight of an emotion is the sum of the
    weights of its cells, to the same power. At a balance of 0.5, rare cells are drawn more often than they occur, but not so
    often that the same few images are repeated.
    """
    cells = [(int(label), source.name) for label, source in zip(images.labels, images.sources, strict=True)]
    sizes = Counter(cells)
    emotions: dict[int, float] = {}
    for (label, _), size in sizes.items():
        emotions[label] = emotions.get(label, 0.0) + size ** (1 - balance)
    weights: npt.NDArray[np.float64] = np.array([sizes[cell] ** -balance * emotions[cell[0]] ** -balance for cell in cells])
    weights /= weights.sum()
    return weights
