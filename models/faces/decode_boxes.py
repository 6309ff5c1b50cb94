"""Decoding of the maps of the network into boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from indexer.domain.types import Floats

STRIDE = 8
"""Pixels of the input per cell of the maps."""

_MAX_FACES_PER_IMAGE = 64

_MAX_IOU, _MAX_SHARE_INSIDE = 0.45, 0.75
"""Two boxes are one face above this intersection over union, or if the less probable one is inside the other to this share."""

_TINY = np.float32(1e-9)

DetectedBoxes = tuple["Floats", "Floats"]
"""Boxes, (M, 4): left, top, right, bottom; and their probabilities, (M,), highest first."""


def decode_detections(logits: Floats, distances: Floats, least: float) -> list[DetectedBoxes]:
    """Return the faces of N images with a probability of at least `least`; boxes are in pixels of the input.

    `logits` is (N, S, S): whether the center of a face is in the cell. `distances` is (N, 4, S, S): from the center of the cell
    to the edges of the face.
    """
    probabilities = (1 / (1 + np.exp(-logits.astype(np.float32)))).astype(np.float32)
    marked = (probabilities >= least) & (probabilities == _local_maximum(probabilities))
    results = []
    for probability, mark, distance in zip(probabilities, marked, distances, strict=True):
        rows, columns = np.nonzero(mark)
        order = np.argsort(-probability[rows, columns], kind="stable")[:_MAX_FACES_PER_IMAGE]
        rows, columns = rows[order], columns[order]
        middles = (np.stack([columns, rows], axis=1) + 0.5) * STRIDE
        edges = distance[:, rows, columns].T
        boxes = np.concatenate([middles - edges[:, :2], middles + edges[:, 2:]], axis=1).astype(np.float32)
        results.append(non_max_suppression(boxes, probability[rows, columns]))
    return results


def non_max_suppression(boxes: Floats, probabilities: Floats) -> DetectedBoxes:
    """Remove boxes, (M, 4), that overlap a more probable one. Greedy; boxes are sorted by probability, (M,), highest first."""
    kept: list[int] = []
    same = (iou_matrix(boxes, boxes) > _MAX_IOU) | (_common(boxes, boxes) > _MAX_SHARE_INSIDE * _areas(boxes)[:, None])
    for row in range(len(boxes)):
        if not same[row, kept].any():
            kept.append(row)
    return boxes[kept], probabilities[kept]


def iou_matrix(one: Floats, other: Floats) -> Floats:
    """Return the intersection over union of all boxes of (M, 4) with all of (K, 4): (M, K)."""
    common = _common(one, other)
    shares: Floats = common / np.maximum(_areas(one)[:, None] + _areas(other)[None] - common, _TINY)
    return shares


def _common(one: Floats, other: Floats) -> Floats:
    shared = np.minimum(one[:, None, 2:], other[None, :, 2:]) - np.maximum(one[:, None, :2], other[None, :, :2])
    areas: Floats = np.clip(shared, 0, None).prod(axis=-1)
    return areas


def _areas(boxes: Floats) -> Floats:
    areas: Floats = (boxes[:, 2:] - boxes[:, :2]).prod(axis=-1)
    return areas


def _local_maximum(maps: Floats) -> Floats:
    """Return the maximum of the 3 x 3 cells around each cell of (N, S, S)."""
    side = maps.shape[1]
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    shifted = [padded[:, top : top + side, left : left + side] for top in range(3) for left in range(3)]
    greatest: Floats = np.maximum.reduce(shifted)
    return greatest
