"""Targets for the maps of the detector, and the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from models.faces.decode_boxes import STRIDE

_SPREAD = 0.13
"""Standard deviation of the mark of a face, as a share of its width and height."""

_NEAR = 0.45
"""Distances are learned in cells with a mark above this."""


class Target(NamedTuple):
    """Targets: `marks`, (N, S, S), 1 in the center of a face and falling outward; `boxes`, (N, S, S, 4), of the nearest face."""

    marks: Tensor
    boxes: Tensor


def target(boxes: Sequence[Tensor], side: int) -> Target:
    """Return the targets of N images of `side` pixels with boxes (M, 4) each. The smaller of two overlapping faces wins."""
    places = centers(side // STRIDE)
    marks = torch.zeros(len(boxes), *places.shape[:2])
    nearest = torch.zeros(len(boxes), *places.shape[:2], 4)
    for number, faces in enumerate(boxes):
        for face in sorted(faces, key=lambda box: -float((box[2] - box[0]) * (box[3] - box[1]))):
            middle, size = (face[:2] + face[2:]) / 2, face[2:] - face[:2]
            # The cell nearest to the center gets a full mark, so that even the smallest face has one.
            cell = (middle / STRIDE - 0.5).round().clamp(0, places.shape[0] - 1)
            away = (places - (cell + 0.5) * STRIDE) / (size * _SPREAD).clamp(min=STRIDE * 0.55)
            mark = torch.exp(-(away**2).sum(dim=-1) / 2)
            nearest[number][mark > marks[number]] = face
            marks[number] = torch.maximum(marks[number], mark)
    return Target(marks, nearest)


def loss(logits: Tensor, distances: Tensor, wanted: Target) -> Tensor:
    """Focal loss with soft marks (CenterNet) and generalized intersection over union (Rezatofighi et al., arXiv:1902.09630)."""
    probability = logits.sigmoid().clamp(1e-5, 1 - 1e-5)
    sure = wanted.marks > 0.99
    found = ((1 - probability) ** 2 * probability.log())[sure].sum()
    quiet = ((1 - wanted.marks) ** 4 * probability**2 * (1 - probability).log())[~sure].sum()
    faces = sure.sum().clamp(min=1)
    near = wanted.marks > _NEAR
    weights = wanted.marks[near]
    misses = 1 - _generalized(to_boxes(distances)[near], wanted.boxes[near])
    return -(found + quiet) / faces + 2 * (misses * weights).sum() / weights.sum().clamp(min=1)


def centers(side: int) -> Tensor:
    """Return the centers of the cells of a map, in pixels: (side, side, 2), x and y."""
    steps = (torch.arange(side, dtype=torch.float32) + 0.5) * STRIDE
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x, y], dim=-1)


def to_boxes(distances: Tensor) -> Tensor:
    """Convert distances, (N, 4, S, S), to boxes, (N, S, S, 4): left, top, right, bottom in pixels."""
    middles = centers(distances.shape[-1]).to(distances.device)
    by_place = distances.permute(0, 2, 3, 1)
    return torch.cat([middles - by_place[..., :2], middles + by_place[..., 2:]], dim=-1)


def _generalized(one: Tensor, other: Tensor) -> Tensor:
    inner = (torch.minimum(one[:, 2:], other[:, 2:]) - torch.maximum(one[:, :2], other[:, :2])).clamp(min=0).prod(dim=1)
    outer = (torch.maximum(one[:, 2:], other[:, 2:]) - torch.minimum(one[:, :2], other[:, :2])).prod(dim=1)
    union = (one[:, 2:] - one[:, :2]).prod(dim=1) + (other[:, 2:] - other[:, :2]).prod(dim=1) - inner
    return inner / union - functional.relu(outer - union) / outer
