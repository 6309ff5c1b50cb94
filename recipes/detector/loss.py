"""Targets for the output maps of the detector, and the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from models.faces.decode_boxes import STRIDE

_MARK_DEVIATION = 0.13
"""Standard deviation of the mark of a face, as a share of its width and height."""

_MIN_BOX_MARK = 0.45
"""The network learns distances in cells with a mark above this."""


_MIN_TAUGHT_PROBABILITY = 0.3
"""A student learns the teacher's distances in cells with a probability above this."""


class Target(NamedTuple):
    """Targets: `marks`, (N, S, S), 1 in the center of a face and falling outward; `boxes`, (N, S, S, 4), of the nearest face."""

    marks: Tensor
    boxes: Tensor


class Outputs(NamedTuple):
    """What a detector computes for a batch: merged `maps`, `logits` and `distances`, as in `models.faces.network.FaceNet`."""

    maps: Tensor
    logits: Tensor
    distances: Tensor


def target(boxes: Sequence[Tensor], side: int) -> Target:
    """Return the targets of N images of `side` pixels with boxes (M, 4) each. The smaller of two overlapping faces wins."""
    cells = centers(side // STRIDE)
    marks = torch.zeros(len(boxes), *cells.shape[:2])
    nearest = torch.zeros(len(boxes), *cells.shape[:2], 4)
    for number, faces in enumerate(boxes):
        for face in sorted(faces, key=lambda box: -float((box[2] - box[0]) * (box[3] - box[1]))):
            middle, size = (face[:2] + face[2:]) / 2, face[2:] - face[:2]
            # The cell nearest to the center gets a full mark, so that even the smallest face has one.
            cell = (middle / STRIDE - 0.5).round().clamp(0, cells.shape[0] - 1)
            offset = (cells - (cell + 0.5) * STRIDE) / (size * _MARK_DEVIATION).clamp(min=STRIDE * 0.55)
            mark = torch.exp(-(offset**2).sum(dim=-1) / 2)
            nearest[number][mark > marks[number]] = face
            marks[number] = torch.maximum(marks[number], mark)
    return Target(marks, nearest)


def loss(logits: Tensor, distances: Tensor, targets: Target) -> Tensor:
    """Focal loss with soft marks (CenterNet) and generalized intersection over union (Rezatofighi et al., arXiv:1902.09630)."""
    probability = logits.sigmoid().clamp(1e-5, 1 - 1e-5)
    is_center = targets.marks > 0.99
    positive = ((1 - probability) ** 2 * probability.log())[is_center].sum()
    negative = ((1 - targets.marks) ** 4 * probability**2 * (1 - probability).log())[~is_center].sum()
    face_count = is_center.sum().clamp(min=1)
    has_box = targets.marks > _MIN_BOX_MARK
    weights = targets.marks[has_box]
    box_losses = 1 - _generalized_iou(to_boxes(distances)[has_box], targets.boxes[has_box])
    return -(positive + negative) / face_count + 2 * (box_losses * weights).sum() / weights.sum().clamp(min=1)


def distillation_loss(student: Outputs, teacher: Outputs) -> Tensor:
    """Return how far the outputs of a student are from those of its teacher on the same images (Hinton et al., arXiv:1503.02531).

    Probabilities are compared by the quality focal loss (Li et al., arXiv:2006.04388), with those of the teacher as targets,
    boxes by the generalized intersection over union, weighted by the teacher's probability, and merged maps by the mean squared
    error as a share of the teacher's variance.
    """
    target_probability = teacher.logits.sigmoid()
    focus = (target_probability - student.logits.sigmoid()).abs() ** 2
    entropy = functional.binary_cross_entropy_with_logits(student.logits, target_probability, reduction="none")
    centers_loss = (focus * entropy).sum() / target_probability.sum().clamp(min=1)
    has_box = target_probability > _MIN_TAUGHT_PROBABILITY
    weights = target_probability[has_box]
    box_losses = 1 - _generalized_iou(to_boxes(student.distances)[has_box], to_boxes(teacher.distances)[has_box])
    maps_loss = functional.mse_loss(student.maps, teacher.maps) / teacher.maps.var()
    return centers_loss + 2 * (box_losses * weights).sum() / weights.sum().clamp(min=1) + maps_loss


def centers(side: int) -> Tensor:
    """Return the centers of the cells of a map, in pixels: (side, side, 2), x and y."""
    steps = (torch.arange(side, dtype=torch.float32) + 0.5) * STRIDE
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x, y], dim=-1)


def to_boxes(distances: Tensor) -> Tensor:
    """Convert distances, (N, 4, S, S), to boxes, (N, S, S, 4): left, top, right, bottom in pixels."""
    middles = centers(distances.shape[-1]).to(distances.device)
    by_cell = distances.permute(0, 2, 3, 1)
    return torch.cat([middles - by_cell[..., :2], middles + by_cell[..., 2:]], dim=-1)


def _generalized_iou(one: Tensor, other: Tensor) -> Tensor:
    inner = (torch.minimum(one[:, 2:], other[:, 2:]) - torch.maximum(one[:, :2], other[:, :2])).clamp(min=0).prod(dim=1)
    outer = (torch.maximum(one[:, 2:], other[:, 2:]) - torch.minimum(one[:, :2], other[:, :2])).prod(dim=1)
    union = (one[:, 2:] - one[:, :2]).prod(dim=1) + (other[:, 2:] - other[:, :2]).prod(dim=1) - inner
    return inner / union - functional.relu(outer - union) / outer
