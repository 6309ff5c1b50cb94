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

LEAST_SIMILARITY = 0.65
"""Least cosine similarity of the appearances of look-alikes."""

MOST_LOOK_ALIKES = 16
"""A face is read beside its most similar look-alikes, up to this number."""

SPREAD = 0.15
"""Difference of similarity at which a look-alike counts as 1/e of a face. Most faces of one character have more than 0.8, most
faces of other characters by the same artist less than 0.7."""

PRIOR_FACES = 1.0
"""Number of average faces that are added to every group, because the mean of a few faces is uncertain."""

SHARPENING = 0.8
"""The mean takes away a part of the spread of the logits, to which the probabilities of the model are calibrated. Logits beside
many look-alikes are multiplied by nearly 1 plus this number.
"""


def weights(similarities: Floats) -> Floats:
    """Return how many faces look-alikes count as, in (0, 1], by the cosine similarities of their appearances to the face."""
    counted: Floats = np.exp((similarities - 1) / SPREAD).astype(np.float32)
    return counted


def read_beside(logits: Floats, others: Floats, counted: Floats, owners: Ids, mean: Floats) -> Floats:
    """Return the probabilities of N faces beside their look-alikes: float32, (N, labels); rows sum to 1.

    - `logits`: float32, (N, labels), of the faces.
    - `others`: float32, (M, labels), logits of look-alikes; `counted`: float32, (M,), their `weights`; `owners`: int64, (M,), the
      row of the face that each belongs to.
    - `mean`: float32, (labels,), mean logits of the model over faces of many characters.

    Where w is the sum of the weights of a face's look-alikes, and N = 1 + w + PRIOR_FACES, the logits z become
    (1 + SHARPENING w / N) (z - sum(w_j (z_j - mean)) / N). The second sum is over the face, which counts as 1, and its
    look-alikes. A face without look-alikes keeps its logits.
    """
    rows = len(logits)
    others_weight = np.bincount(owners, weights=counted, minlength=rows)[:, None]
    sums = logits.astype(np.float64) - mean
    np.add.at(sums, owners, counted[:, None] * (others.astype(np.float64) - mean))
    total = 1 + others_weight + PRIOR_FACES
    read = np.where(others_weight > 0, (1 + SHARPENING * others_weight / total) * (logits - sums / total), logits)
    odds = np.exp(read - read.max(axis=1, keepdims=True))
    probabilities: Floats = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities
