"""Look-alikes: faces of other images with a similar appearance, mostly of one character, beside which a face is read.

Some characters bias a classifier: a crab looks angry in every drawing. The mean over a face and its look-alikes contains that
bias, but little of the expression of the face. The classifier's logits minus that mean therefore tell the expression better, as
normalization by person does for photographs of faces. Every face has its own look-alikes; groups have no borders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Ids

LEAST_SIMILARITY = 0.6
"""Least cosine similarity of the appearances of look-alikes."""

MOST_LOOK_ALIKES = 16
"""A face is read beside its most similar look-alikes, up to this number."""

PRIOR_FACES = 2.0
"""Number of average faces that are added to every group, because the mean of a few faces is uncertain."""


SHARPENING = 0.4
"""The mean takes away a part of the spread of the logits, to which the probabilities of the model are calibrated. Logits beside
many look-alikes are multiplied by nearly 1 plus this number.
"""


def read_beside(logits: Floats, others: Floats, owners: Ids, mean: Floats) -> Floats:
    """Return the probabilities of N faces beside their look-alikes: float32, (N, labels); rows sum to 1.

    - `logits`: float32, (N, labels), of the faces.
    - `others`: float32, (M, labels), logits of look-alikes; `owners`: int64, (M,), the row of the face that each belongs to.
    - `mean`: float32, (labels,), mean logits of the model over faces of many characters.

    With a group of n faces, the face and its look-alikes, and N = n + PRIOR_FACES, the logits z become
    (1 + SHARPENING (n - 1) / N) (z - sum(z_j - mean) / N), where the sum is over the group. A face without look-alikes keeps its
    logits.
    """
    size = 1 + np.bincount(owners, minlength=len(logits))[:, None]
    sums = logits.astype(np.float64) - mean
    np.add.at(sums, owners, others.astype(np.float64) - mean)
    total = size + PRIOR_FACES
    read = np.where(size > 1, (1 + SHARPENING * (size - 1) / total) * (logits - sums / total), logits)
    odds = np.exp(read - read.max(axis=1, keepdims=True))
    probabilities: Floats = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities
