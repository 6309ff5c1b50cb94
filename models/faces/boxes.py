"""From the network's maps to boxes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from models.faces.network import STRIDE

_MOST = 64
"""Faces of one picture that are looked at."""

_SAME, _INSIDE = 0.45, 0.75
"""A box that has more in common with a surer one, as a share of what they cover together or of itself, is the same face."""


def centres(side: int, device: torch.device) -> Tensor:
    """The middles of the places of a map, in pixels: (side, side, 2), x and y."""
    steps = (torch.arange(side, device=device, dtype=torch.float32) + 0.5) * STRIDE
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x, y], dim=-1)


def to_boxes(distances: Tensor) -> Tensor:
    """Distances, (N, 4, S, S), to boxes, (N, S, S, 4): left, top, right, bottom in pixels."""
    middles = centres(distances.shape[-1], distances.device)
    by_place = distances.permute(0, 2, 3, 1)
    return torch.cat([middles - by_place[..., :2], middles + by_place[..., 2:]], dim=-1)


def found(logits: Tensor, distances: Tensor, least: float) -> list[tuple[Tensor, Tensor]]:
    """Each picture's faces, surest first: boxes (M, 4) in pixels, and probabilities (M,), all of at least `least`."""
    probabilities = logits.sigmoid()
    peaks = functional.max_pool2d(probabilities[:, None], 3, 1, 1)[:, 0] == probabilities
    boxes = to_boxes(distances)
    results = []
    for peak, probability, box in zip(peaks & (probabilities >= least), probabilities, boxes, strict=True):
        sure, places = probability[peak].sort(descending=True)
        results.append(distinct(box[peak][places[:_MOST]], sure[:_MOST]))
    return results


def distinct(boxes: Tensor, sure: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes, (M, 4), by falling probability, (M,), without those that a surer one has in common: greedy suppression."""
    kept: list[int] = []
    same = (overlaps(boxes, boxes) > _SAME) | (_common(boxes, boxes) > _INSIDE * _both_areas(boxes, boxes)[0])
    for row in range(len(boxes)):
        if not same[row, kept].any():
            kept.append(row)
    return boxes[kept], sure[kept]


def overlaps(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of every box of (M, 4) with every one of (K, 4): (M, K)."""
    common = _common(one, other)
    first, second = _both_areas(one, other)
    return common / (first + second - common).clamp(min=1e-9)


def _common(one: Tensor, other: Tensor) -> Tensor:
    shared = torch.minimum(one[:, None, 2:], other[None, :, 2:]) - torch.maximum(one[:, None, :2], other[None, :, :2])
    return shared.clamp(min=0).prod(dim=-1)


def _both_areas(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """The areas of (M, 4) and (K, 4) boxes as (M, 1) and (1, K)."""
    first, second = ((boxes[:, 2:] - boxes[:, :2]).prod(dim=-1) for boxes in (one, other))
    return first[:, None], second[None]
