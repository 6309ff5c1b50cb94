"""Selection of the images whose labels would teach a model most (active learning)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.models import APPEARANCE, EXPRESSION
from models.clustering import pick_representatives
from models.style_baseline import fit_baseline

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.types import Floats, Halves, Ids

_TYPICAL_MAX_LABELS = 15
"""Number of labels up to which typical images teach more than uncertain ones."""

_EMBEDDING_SHARE = np.float32(0.5)
"""Length of the embedding divided by that of the roots of the probabilities, for models without embedding spaces."""

_MIN_NORM = np.float32(1e-6)


def select_informative(features: Floats, probabilities: Floats, unlabeled: Ids, labeled: Ids, count: int) -> Ids:
    """Select at most `count` unlabeled rows of N images whose labels would teach most.

    - `features`: unit vectors, float32, (N, D), from `selection_features`.
    - `probabilities`: float32, (N, labels).
    - `unlabeled`, `labeled`: row numbers, int64.

    The images are clustered into `count` groups and one group around each labeled image. The result is the image nearest to the
    center of each of the `count` groups: int64, (n,). With few labels, typical images teach more than uncertain ones (Hacohen
    et al., "Active Learning on a Budget", arXiv:2202.02794). With more labels, only half of the images is clustered: those with
    the smallest margin between the two most probable emotions.
    """
    if len(labeled) + count > _TYPICAL_MAX_LABELS:
        two_highest = np.sort(probabilities[unlabeled], axis=1)[:, -2:]
        order = np.argsort(two_highest[:, -1] - two_highest[:, 0], kind="stable")
        unlabeled = unlabeled[order[: max(count, len(unlabeled) // 2)]]
    selected: Ids = unlabeled[pick_representatives(features[unlabeled], features[labeled], count)]
    return selected


def selection_features(card: ModelCard, embeddings: Halves, probabilities: Floats) -> Floats:
    """Compute the features by which images are clustered: unit vectors, float32, (N, D).

    `embeddings` are float16, (N, embedding size), `probabilities` float32, (N, labels).

    - For a model with embedding spaces, the features are the expression minus the style baseline, so that a cluster is an
      expression and not a character. On four unseen artists, this was the best of the features that were tried, and the one
      that was least often worse than random images (bench/teaching.py).
    - For other models, they are the embedding and the square roots of the probabilities. The Euclidean distance of such roots
      is proportional to the Hellinger distance.
    """
    expression = embeddings[:, card.space_slice(EXPRESSION)].astype(np.float32)
    if card.spaces:
        baseline = fit_baseline(card, embeddings.astype(np.float32))
        features = expression - baseline.expected_expression(embeddings[:, card.space_slice(APPEARANCE)].astype(np.float32))
    else:
        features = np.concatenate([_EMBEDDING_SHARE * expression, np.sqrt(probabilities)], axis=1)
    unit_vectors: Floats = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), _MIN_NORM)
    return unit_vectors
