"""Comparison of installed models on the same labeled images: which is right most often, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.errors import UsageError
from indexer.domain.training import ComparedModel

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.training.judged import Judged

    Truths = npt.NDArray[np.bool_]

_RESAMPLES = 2000


def compare_models(judged: Mapping[str, Judged]) -> list[ComparedModel]:
    """Compare models, by name, on the images that all of them could read; the best first.

    An image of an emotion that a model does not know counts as wrong. Intervals are 95%, by the percentile bootstrap over images;
    the difference from the best is of the same resamples, so that images which are difficult for all models do not widen it.
    Raises UsageError if there are no such images.
    """
    common = set.intersection(*({image.path for image in one.images} for one in judged.values()))
    if not common:
        raise UsageError("The models have no images in common.")
    right, emotions = {}, np.array([])
    for name, one in judged.items():
        rows = [row for row, image in enumerate(one.images) if image.path in common]
        rows.sort(key=lambda row: one.images[row].path)
        right[name] = np.array([one.predicted[row] == one.truth[row] for row in rows])
        emotions = np.array([one.images[row].emotion for row in rows])
    samples = np.random.default_rng(0).integers(0, len(emotions), (_RESAMPLES, len(emotions)))
    resampled = {name: each[samples].mean(axis=1) for name, each in right.items()}
    best = max(right, key=lambda name: right[name].mean())
    rows_of_result = [
        ComparedModel(
            model=name,
            images=len(each),
            accuracy=float(each.mean()),
            accuracy_interval=_interval(resampled[name]),
            balanced_accuracy=_balanced(each, emotions),
            behind=float(right[best].mean() - each.mean()),
            behind_interval=_interval(resampled[best] - resampled[name]),
        )
        for name, each in right.items()
    ]
    return sorted(rows_of_result, key=lambda one: -one.accuracy)


def _balanced(right: Truths, emotions: npt.NDArray[np.str_]) -> float:
    return float(np.mean([right[emotions == emotion].mean() for emotion in np.unique(emotions)]))


def _interval(samples: npt.NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(samples, (0.025, 0.975)).tolist()
    return low, high
