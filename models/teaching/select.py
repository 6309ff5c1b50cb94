"""Images whose labels would teach a model most (active learning)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.models import FEEL, LOOK
from models.clustering import pick_representatives
from models.style_baseline import fit_baseline

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.types import Floats, Halves, Ids

_TYPICAL_MAX_LABELS = 15
"""Up to so many labels, typical images teach most."""

_EXPRESSION_SHARE = np.float32(0.5)
"""The length of the expression embedding relative to the probabilities, for models without embedding spaces."""


def select_informative(features: Floats, probabilities: Floats, unlabeled: Ids, labeled: Ids, count: int) -> Ids:
    """Select at most `count` unlabeled rows of N images whose labels would teach most.

    `features` are unit vectors, float32, (N, D); `probabilities` float32, (N, labels); `unlabeled` and `labeled` are rows, int64.
    Images are clustered into as many groups as are wanted besides those that the labeled rows cover; the image nearest to the
    middle of each group is selected (Hacohen et al., "Active Learning on a Budget", arXiv:2202.02794: with few labels, typical
    images teach more than uncertain ones). With more labels, only the half with the smallest margin between the two most
    probable emotions takes part.
    """
    if len(labeled) + count > _TYPICAL_MAX_LABELS:
        likeliest = np.sort(probabilities[unlabeled], axis=1)[:, -2:]
        order = np.argsort(likeliest[:, -1] - likeliest[:, 0], kind="stable")
        unlabeled = unlabeled[order[: max(count, len(unlabeled) // 2)]]
    chosen: Ids = unlabeled[pick_representatives(features[unlabeled], features[labeled], count)]
    return chosen


def selection_features(card: ModelCard, embeddings: Halves, probabilities: Floats) -> Floats:
    """Compute the features by which images are clustered: unit vectors, float32, (N, D).

    `embeddings` are float16, (N, embedding size), `probabilities` float32, (N, labels). For a model with embedding spaces the
    features are the expression minus the expected expression of the style, so that clusters are expressions, whoever shows them;
    of what was tried on four unseen artists this was the best, and the least often worse than chance (bench/teaching.py). For
    other models they are the embedding and the square roots of the probabilities, whose distance is Hellinger's.
    """
    expression = embeddings[:, card.space_slice(FEEL)].astype(np.float32)
    if card.spaces:
        baseline = fit_baseline(card, embeddings.astype(np.float32))
        features = expression - baseline.expected_expression(embeddings[:, card.space_slice(LOOK)].astype(np.float32))
    else:
        features = np.concatenate([_EXPRESSION_SHARE * expression, np.sqrt(probabilities)], axis=1)
    unit: Floats = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.float32(1e-6))
    return unit
