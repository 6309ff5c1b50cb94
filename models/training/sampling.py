"""Which pictures make up each batch, from the seed and the epoch alone."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from models.training.dataset import LabeledImages
from models.training.recipe import Recipe

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Ids


def steps_per_epoch(pictures: LabeledImages, recipe: Recipe) -> int:
    """How many batches an epoch has."""
    return math.ceil((recipe.pictures_per_epoch or len(pictures)) / recipe.batch_size)


def batches(pictures: LabeledImages, recipe: Recipe, epoch: int) -> Ids:
    """The rows of each batch of an epoch, int64, (steps, batch size).

    Unbalanced, every picture comes once before any comes twice; balanced, each is drawn by its weight.
    """
    random = np.random.default_rng((recipe.seed, epoch))
    shape = (steps_per_epoch(pictures, recipe), recipe.batch_size)
    if recipe.balance:
        return random.choice(len(pictures), size=shape, p=sampling_weights(pictures, recipe.balance))
    rounds = math.ceil(shape[0] * shape[1] / len(pictures))
    line = np.concatenate([random.permutation(len(pictures)) for _ in range(rounds)])
    return line[: shape[0] * shape[1]].reshape(shape)


def sampling_weights(pictures: LabeledImages, balance: float) -> npt.NDArray[np.float64]:
    """How often to draw each picture, (N,), summing to 1: balanced over styles within an emotion, then over emotions.

    A cell (emotion and artist's set) counts with its size to the power of 1 - balance, an emotion with its cells' sum to that
    power: at one half rare ones are drawn more often than they occur, and yet not the same few pictures all the time.
    """
    cells = [(int(label), source.name) for label, source in zip(pictures.labels, pictures.sources, strict=True)]
    sizes = Counter(cells)
    emotions: dict[int, float] = {}
    for (label, _), size in sizes.items():
        emotions[label] = emotions.get(label, 0.0) + size ** (1 - balance)
    weights: npt.NDArray[np.float64] = np.array([sizes[cell] ** -balance * emotions[cell[0]] ** -balance for cell in cells])
    weights /= weights.sum()
    return weights
