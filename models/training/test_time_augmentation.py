"""Looking at a picture several times: mirrored, nearer, from further away. The mean of what is said each time is steadier."""

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

_ZOOMS = (1.0, 0.85, 1.15)


def probabilities(classifier: Classifier, pixels: Pixels, count: int = 1) -> Floats:
    """What a classifier says of pictures, uint8 (N, size, size, 3), in the mean over `count` views: float32, (N, labels)."""
    if count == 1:
        return classifier.classify(pixels).probabilities
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    seen = [
        (view * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy() for view in augmented_views(x, count)
    ]
    mean: Floats = np.mean([classifier.classify(look).probabilities for look in seen], axis=0, dtype=np.float32)
    return mean


def augmented_views(x: Tensor, count: int) -> Iterator[Tensor]:
    """The first `count`, 1-6, of: as it is, mirrored, both from further away, both nearer.

    `x` is float, (N, 3, H, W), 0-1; what comes into view is white.
    """
    for number in range(count):
        zoomed = _zoomed(x, _ZOOMS[number // 2])
        yield zoomed.flip(3) if number % 2 else zoomed


def _zoomed(x: Tensor, zoom: float) -> Tensor:
    if zoom == 1:
        return x
    side = x.shape[-1]
    scaled = round(side * zoom)
    resized = functional.interpolate(x, size=(scaled, scaled), mode="bilinear", antialias=True, align_corners=False)
    before = (side - scaled) // 2
    after = side - scaled - before
    return functional.pad(resized, (before, after, before, after), value=1.0)
