"""What a model can learn from, and which images it would be worth asking about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.errors import UsageError
from indexer.domain.reports import Suggestion, TeachingSet
from indexer.ports.store_reader import HitFilter
from indexer.ports.teaching import Candidates

if TYPE_CHECKING:
    from indexer.domain.models import StoredModel
    from indexer.ports.store_reader import StoreReader
    from indexer.ports.teaching import Teacher

_SAMPLE_ROWS = 8192
_MIN_LABELS = 4
_MAX_CANDIDATES = 20_000


def build_teaching_set(store: StoreReader, model: StoredModel) -> TeachingSet:
    """Collect the labeled images that the model analyzed, with its own predictions, and a sample of all images.

    Of an image with several faces, the main one stands for what the user meant. Raises UsageError for too few labels.
    """
    hits = [
        (found[0].prediction_id, one.emotion, found[0].hit.emotions)
        for one in store.labelled()
        if one.path is not None and (found := store.predicted_at(model.id, one.path))
    ]
    labels = tuple(label for _, label, _ in hits)
    if len(hits) < _MIN_LABELS or len(set(labels)) < 2:
        raise UsageError(
            f"There is too little to learn from: labelled and indexed with {model.card.name!r} are {len(hits)} pictures, of "
            f"{len(set(labels))} different emotions. Label a few of two emotions at least: moodex label PATH... --emotion EMOTION"
        )
    embeddings = store.vectors_of([prediction_id for prediction_id, _, _ in hits])
    sample = store.sample(model.id, _SAMPLE_ROWS)
    return TeachingSet(
        vectors=np.stack([embeddings[prediction_id] for prediction_id, _, _ in hits]).astype(np.float32),
        labels=labels,
        said_before=tuple(max(emotions, key=emotions.__getitem__) for _, _, emotions in hits),
        sample_vectors=sample.vectors.astype(np.float32),
        sample_probabilities=sample.probabilities,
    )


def suggest(store: StoreReader, model: StoredModel, teacher: Teacher, count: int) -> list[Suggestion]:
    """Suggest at most `count` unlabeled images, by emotion and then by how unsure the model is.

    The teacher selects them from a sample of the library.
    """
    sample = store.sample(model.id, _MAX_CANDIDATES)
    labeled_ids = {one.image_id for one in store.labelled()}
    hits = store.hits(model.id, sample.ids.tolist(), HitFilter())
    indexed = [row for row, number in enumerate(sample.ids.tolist()) if number in hits]
    is_labeled = [hits[int(sample.ids[row])][0].image_id in labeled_ids for row in indexed]
    candidates = Candidates(
        embeddings=sample.vectors,
        probabilities=sample.probabilities,
        unlabeled=np.array([row for row, known in zip(indexed, is_labeled, strict=True) if not known], dtype=np.int64),
        labeled=np.array([row for row, known in zip(indexed, is_labeled, strict=True) if known], dtype=np.int64),
    )
    chosen = teacher.select_informative(model.card, candidates, count)
    found = [hits[int(sample.ids[row])][0] for row in chosen]
    suggestions = [Suggestion(hit.path, hit.image_id, hit.emotion, hit.score) for hit in found]
    return sorted(suggestions, key=lambda one: (one.emotion, one.score, one.path))
