"""Test-time augmentation: the average of the predictions for mirrored and zoomed views of an image.

The average varies less than the predictions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Pixels
    from indexer.ports.models import Classifier
    from models.training.image_cache import ImageRows

_ZOOMS = (1.0, 0.85, 1.15)
"""Factors of the size of an image; each gives one view, and a mirrored one."""


def probabilities(classifier: Classifier, images: ImageRows, count: int = 1) -> Floats:
    """Return the probabilities of N >= 1 images, averaged over views: float32, (N, labels).

    `count`, 1-6, is the number of views; see `augmented_views`. Reads the images chunk by chunk, in whole batches of the
    classifier.
    """
    return np.concatenate([_averaged(classifier, chunk, count) for chunk in images.chunks(classifier.batch_size)])


def _averaged(classifier: Classifier, pixels: Pixels, count: int) -> Floats:
    if count == 1:
        return classifier.classify(pixels).probabilities
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    views = ((view * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous() for view in augmented_views(x, count))
    mean: Floats = np.mean([classifier.classify(view.numpy()).probabilities for view in views], axis=0, dtype=np.float32)
    return mean


def augmented_views(x: Tensor, count: int) -> Iterator[Tensor]:
    """Yield the first `count` of six views of each image.

    The views are: original, mirrored, both of these zoomed out, both zoomed in. `x` and each view are float, (N, 3, S, S), 0-1.
    Pixels outside the image are white.
    """
    for number in range(count):
        zoomed = _zoomed(x, _ZOOMS[number // 2])
        yield zoomed.flip(3) if number % 2 else zoomed


def _zoomed(x: Tensor, zoom: float) -> Tensor:
    """Scale images about their center, at the same size: crop them, or pad them with white."""
    if zoom == 1:
        return x
    side = x.shape[-1]
    scaled = round(side * zoom)
    resized = functional.interpolate(x, size=(scaled, scaled), mode="bilinear", antialias=True, align_corners=False)
    before = (side - scaled) // 2
    after = side - scaled - before
    return functional.pad(resized, (before, after, before, after), value=1.0)
