"""From the network's maps to boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from indexer.domain.types import Floats

STRIDE = 8
"""Pixels of the picture that one place of the maps stands for."""

_MOST = 64
"""Faces of one picture that are looked at."""

_SAME, _INSIDE = 0.45, 0.75
"""A box that has more in common with a surer one, as a share of what they cover together or of itself, is the same face."""

_TINY = np.float32(1e-9)

DetectedBoxes = tuple["Floats", "Floats"]
"""Boxes, (M, 4), left, top, right and bottom, and their probabilities, (M,), surest first."""


def decode_detections(logits: Floats, distances: Floats, least: float) -> list[DetectedBoxes]:
    """The faces of N pictures, each with a probability of at least `least`; boxes are in pixels of the network's input.

    `logits` is (N, S, S): how sure it is that a face's middle is there; `distances` (N, 4, S, S): how far from the middle of
    each place its edges are.
    """
    probabilities = (1 / (1 + np.exp(-logits.astype(np.float32)))).astype(np.float32)
    marked = (probabilities >= least) & (probabilities == _surroundings(probabilities))
    results = []
    for probability, mark, distance in zip(probabilities, marked, distances, strict=True):
        rows, columns = np.nonzero(mark)
        order = np.argsort(-probability[rows, columns], kind="stable")[:_MOST]
        rows, columns = rows[order], columns[order]
        middles = (np.stack([columns, rows], axis=1) + 0.5) * STRIDE
        edges = distance[:, rows, columns].T
        boxes = np.concatenate([middles - edges[:, :2], middles + edges[:, 2:]], axis=1).astype(np.float32)
        results.append(non_max_suppression(boxes, probability[rows, columns]))
    return results


def non_max_suppression(boxes: Floats, sure: Floats) -> DetectedBoxes:
    """Boxes, (M, 4), by falling probability, (M,), without those that a surer one has in common: greedy suppression."""
    kept: list[int] = []
    same = (iou_matrix(boxes, boxes) > _SAME) | (_common(boxes, boxes) > _INSIDE * _areas(boxes)[:, None])
    for row in range(len(boxes)):
        if not same[row, kept].any():
            kept.append(row)
    return boxes[kept], sure[kept]


def iou_matrix(one: Floats, other: Floats) -> Floats:
    """Intersection over union of every box of (M, 4) with every one of (K, 4): (M, K)."""
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


def _surroundings(maps: Floats) -> Floats:
    """The greatest value in the 3 x 3 places around each one of (N, S, S)."""
    side = maps.shape[1]
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    shifted = [padded[:, top : top + side, left : left + side] for top in range(3) for left in range(3)]
    greatest: Floats = np.maximum.reduce(shifted)
    return greatest
