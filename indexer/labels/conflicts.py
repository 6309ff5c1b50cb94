"""Labels that the model strongly disagrees with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from indexer.domain.emotions import are_related
from indexer.domain.reports import LabelConflict

if TYPE_CHECKING:
    from indexer.domain.models import StoredModel
    from indexer.domain.queries import Hit
    from indexer.ports.store_reader import StoreReader


_DEFAULT_THRESHOLD = 0.5
"""Threshold of an emotion that no label has."""


def find_conflicts(store: StoreReader, model: StoredModel, limit: int) -> list[LabelConflict]:
    """Find the labels that a model contradicts most strongly: confident learning.

    Northcutt et al., arXiv:1911.00068. The threshold of an emotion is its mean probability over the images with that label. An
    image belongs confidently to the most probable emotion that reaches its threshold; if that is not its label, it is a conflict,
    unless one of the two is a sub-emotion of the other. Conflicts are ordered by the difference of the two probabilities, largest
    first. Labels that the model does not know are ignored.
    """
    labeled_hits: list[Hit] = []
    label_probabilities: dict[str, list[float]] = defaultdict(list)
    for image in store.labeled_images():
        regions = [] if image.path is None else store.predicted_at(model.id, image.path)
        if regions and image.emotion in regions[0].hit.emotions:
            labeled_hits.append(regions[0].hit)
            label_probabilities[image.emotion].append(regions[0].hit.emotions[image.emotion])
    thresholds = {emotion: sum(values) / len(values) for emotion, values in label_probabilities.items()}
    conflicts = []
    for hit in labeled_hits:
        label, predicted = hit.emotion, _confident_emotion(hit.emotions, thresholds)
        if predicted and not are_related(predicted, label):
            scores = hit.emotions
            conflicts.append(LabelConflict(hit.path, hit.image_id, label, scores[label], predicted, scores[predicted]))
    return sorted(conflicts, key=lambda conflict: (conflict.label_score - conflict.predicted_score, conflict.path))[:limit]


def _confident_emotion(emotions: Mapping[str, float], thresholds: Mapping[str, float]) -> str:
    """Return the most probable emotion that reaches its threshold; "" if none does."""
    confident = [
        emotion for emotion, probability in emotions.items() if probability >= thresholds.get(emotion, _DEFAULT_THRESHOLD)
    ]
    return max(confident, key=emotions.__getitem__, default="")
