"""The examples that a model learns from, and the images that are worth labeling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.errors import UsageError
from indexer.domain.reports import Suggestion, TeachingSet
from indexer.ports.store_reader import HitFilter, Sample
from indexer.ports.teaching import Candidates
from indexer.system.text import pluralize

if TYPE_CHECKING:
    from indexer.domain.models import StoredModel
    from indexer.ports.store_reader import StoreReader
    from indexer.ports.teaching import Teacher

_SAMPLE_ROWS = 8192
_MIN_LABELS = 4
_MAX_CANDIDATES = 20_000


def build_teaching_set(store: StoreReader, model: StoredModel) -> TeachingSet:
    """Collect the labeled images with the model's predictions, and a sample of the library.

    The label of an image with several faces counts for its main face. Raises UsageError for too few labels.
    """
    hits = [
        (regions[0].prediction_id, image.emotion, regions[0].hit.emotions)
        for image in store.labeled_images()
        if image.path is not None and (regions := store.predicted_at(model.id, image.path))
    ]
    labels = tuple(label for _, label, _ in hits)
    if len(hits) < _MIN_LABELS or len(set(labels)) < 2:
        found = f"{pluralize(len(hits), 'labeled image')} with {pluralize(len(set(labels)), 'emotion')}"
        raise UsageError(
            f"There are too few labels: {found} among those indexed with {model.card.name!r}. Label at least {_MIN_LABELS} "
            "images with two emotions: moodex label PATH... --emotion EMOTION"
        )
    embeddings = store.vectors_of([prediction_id for prediction_id, _, _ in hits])
    sample = _finite(store.sample(model.id, _SAMPLE_ROWS))
    return TeachingSet(
        vectors=np.stack([embeddings[prediction_id] for prediction_id, _, _ in hits]).astype(np.float32),
        labels=labels,
        predicted_before=tuple(max(emotions, key=emotions.__getitem__) for _, _, emotions in hits),
        sample_vectors=sample.vectors.astype(np.float32),
        sample_probabilities=sample.probabilities,
    )


def suggest(store: StoreReader, model: StoredModel, teacher: Teacher, count: int) -> list[Suggestion]:
    """Suggest at most `count` unlabeled images, by emotion and then by score, lowest first.

    The teacher selects them from a sample of the library.
    """
    sample = _finite(store.sample(model.id, _MAX_CANDIDATES))
    labeled_ids = {image.image_id for image in store.labeled_images()}
    hits = store.hits(model.id, sample.ids.tolist(), HitFilter())
    indexed = [row for row, number in enumerate(sample.ids.tolist()) if number in hits]
    is_labeled = [hits[int(sample.ids[row])][0].image_id in labeled_ids for row in indexed]
    candidates = Candidates(
        embeddings=sample.vectors,
        probabilities=sample.probabilities,
        unlabeled=np.array([row for row, labeled in zip(indexed, is_labeled, strict=True) if not labeled], dtype=np.int64),
        labeled=np.array([row for row, labeled in zip(indexed, is_labeled, strict=True) if labeled], dtype=np.int64),
    )
    chosen = teacher.select_informative(model.card, candidates, count)
    chosen_hits = [hits[int(sample.ids[row])][0] for row in chosen]
    suggestions = [Suggestion(hit.path, hit.image_id, hit.emotion, hit.score) for hit in chosen_hits]
    return sorted(suggestions, key=lambda suggestion: (suggestion.emotion, suggestion.score, suggestion.path))


def _finite(sample: Sample) -> Sample:
    """Leave out rows with numbers that are not finite: damage, which `moodex doctor` reports, must not spread to all of them."""
    sound = np.isfinite(sample.vectors).all(axis=1) & np.isfinite(sample.probabilities).all(axis=1)
    return Sample(sample.ids[sound], sample.vectors[sound], sample.probabilities[sound])
