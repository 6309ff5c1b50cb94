"""Decoding of the outputs of the face detection network into boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.images import MAX_FACES

if TYPE_CHECKING:
    from indexer.domain.types import Floats

STRIDE = 8
"""Side in input pixels of a cell of the maps."""

_MAX_IOU, _MAX_SHARE_INSIDE = 0.45, 0.75
"""Overlap above which two boxes are one face: intersection over union, or share of the less probable box inside the other."""

_MIN_UNION_AREA = np.float32(1e-9)
"""In square pixels: prevents a division by zero for empty boxes."""

DetectedBoxes = tuple["Floats", "Floats"]
"""Boxes, float32, (M, 4): left, top, right, bottom; and their probabilities, float32, (M,), highest first."""


def decode_detections(logits: Floats, distances: Floats, least: float) -> list[DetectedBoxes]:
    """Return the faces of each of N images whose probability is at least `least`, 0-1.

    - `logits`: float, (N, M, M): logit of the probability that the center of a face is in the cell.
    - `distances`: float, (N, 4, M, M), in input pixels: from the center of the cell to the left, top, right and bottom edge.

    Boxes are in input pixels and may extend beyond the image.
    """
    probabilities = (1 / (1 + np.exp(-logits.astype(np.float32)))).astype(np.float32)
    peaks = (probabilities >= least) & (probabilities == _local_maximum(probabilities))
    results = []
    for probability, peak, distance in zip(probabilities, peaks, distances, strict=True):
        rows, columns = np.nonzero(peak)
        order = np.argsort(-probability[rows, columns], kind="stable")[:MAX_FACES]
        rows, columns = rows[order], columns[order]
        centers = (np.stack([columns, rows], axis=1) + 0.5) * STRIDE
        edges = distance[:, rows, columns].T
        boxes = np.concatenate([centers - edges[:, :2], centers + edges[:, 2:]], axis=1).astype(np.float32)
        results.append(non_max_suppression(boxes, probability[rows, columns]))
    return results


def non_max_suppression(boxes: Floats, probabilities: Floats) -> DetectedBoxes:
    """Remove boxes, float32, (M, 4), that overlap a more probable one too much.

    Greedy. The boxes must be sorted by `probabilities`, float32, (M,), highest first.
    """
    kept_rows: list[int] = []
    is_inside = _intersection_areas(boxes, boxes) > _MAX_SHARE_INSIDE * _areas(boxes)[:, None]
    is_same_face = (iou_matrix(boxes, boxes) > _MAX_IOU) | is_inside
    for row in range(len(boxes)):
        if not is_same_face[row, kept_rows].any():
            kept_rows.append(row)
    return boxes[kept_rows], probabilities[kept_rows]


def iou_matrix(first: Floats, second: Floats) -> Floats:
    """Return the intersection over union, 0-1, of all boxes of (M, 4) with all boxes of (K, 4): float32, (M, K)."""
    intersections = _intersection_areas(first, second)
    unions = _areas(first)[:, None] + _areas(second)[None] - intersections
    ratios: Floats = intersections / np.maximum(unions, _MIN_UNION_AREA)
    return ratios


def _intersection_areas(first: Floats, second: Floats) -> Floats:
    """Return the area that all boxes of (M, 4) share with all boxes of (K, 4): float32, (M, K)."""
    sides = np.minimum(first[:, None, 2:], second[None, :, 2:]) - np.maximum(first[:, None, :2], second[None, :, :2])
    areas: Floats = np.clip(sides, 0, None).prod(axis=-1)
    return areas


def _areas(boxes: Floats) -> Floats:
    areas: Floats = (boxes[:, 2:] - boxes[:, :2]).prod(axis=-1)
    return areas


def _local_maximum(maps: Floats) -> Floats:
    """Return the maximum of the 3 x 3 cells around each cell of (N, M, M)."""
    side = maps.shape[1]
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    shifted = [padded[:, top : top + side, left : left + side] for top in range(3) for left in range(3)]
    maximum: Floats = np.maximum.reduce(shifted)
    return maximum
