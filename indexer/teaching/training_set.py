"""What is taught from and about: the labels a person gave, and the pictures whose labels would help most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.errors import UsageError
from indexer.domain.models import FEEL, LOOK
from indexer.domain.reports import Suggestion, TeachingSet
from indexer.ports.store_reader import HitFilter
from models.clustering import pick_representatives
from models.style_baseline import fit_baseline

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.types import Floats, Halves, Ids
    from indexer.ports.store_reader import StoredModel, StoreReader

_SAMPLE_ROWS = 8192
_MIN_LABELS = 4
_MAX_CANDIDATES = 20_000
_FEW = 15
"""Labels up to which typical pictures teach most."""

_SHARE = np.float32(0.5)
"""How long what is felt is beside what the model says, where it cannot tell who is drawn."""


def build_teaching_set(store: StoreReader, model: StoredModel) -> TeachingSet:
    """The pictures that a person has labelled and the model has seen, with what it says of them itself, and a sample of all.

    Of a picture with several faces the main one is taken for what the person meant.

    Raises UsageError for too few to learn from.
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
    vectors = store.vectors_of([prediction_id for prediction_id, _, _ in hits])
    sample = store.sample(model.id, _SAMPLE_ROWS)
    return TeachingSet(
        np.stack([vectors[prediction_id] for prediction_id, _, _ in hits]).astype(np.float32),
        labels,
        tuple(max(emotions, key=emotions.__getitem__) for _, _, emotions in hits),
        sample.vectors.astype(np.float32),
        sample.probabilities,
    )


def suggest(store: StoreReader, model: StoredModel, count: int) -> list[Suggestion]:
    """Unlabelled pictures whose labels would teach most, by emotion and then by how unsure the model is.

    They are chosen from a sample, as `select_informative` has it.
    """
    sample = store.sample(model.id, _MAX_CANDIDATES)
    labelled = {one.image_id for one in store.labelled()}
    hits = store.hits(model.id, sample.ids.tolist(), HitFilter())
    live = [row for row, number in enumerate(sample.ids.tolist()) if number in hits]
    known = [row for row in live if hits[int(sample.ids[row])][0].image_id in labelled]
    free = np.array([row for row in live if row not in set(known)], dtype=np.int64)
    seen = selection_features(model.card, sample.vectors, sample.probabilities)
    chosen = select_informative(seen, sample.probabilities, free, np.array(known, dtype=np.int64), count)
    found = [hits[int(sample.ids[row])][0] for row in chosen]
    suggestions = [Suggestion(hit.path, hit.image_id, hit.emotion, hit.score) for hit in found]
    return sorted(suggestions, key=lambda one: (one.emotion, one.score, one.path))


def select_informative(seen: Floats, probabilities: Floats, free: Ids, known: Ids, count: int) -> Ids:
    """Of the `free` rows of N pictures as many as `count` whose labels would teach most, beside those of the `known` rows.

    Pictures are grouped by what the model makes of them, `seen`, unit vectors, (N, D), into as many groups as are wanted beside
    those that labels cover; the one nearest to the middle of each group stands for it (Hacohen et al., "Active Learning on a
    Budget", arXiv:2202.02794: with few labels typical pictures teach more than unsure ones). With more labels than a few, of the
    half of which the model is least sure, by the `probabilities`, (N, labels), of the two likeliest emotions.
    """
    if len(known) + count > _FEW:
        likeliest = np.sort(probabilities[free], axis=1)[:, -2:]
        order = np.argsort(likeliest[:, -1] - likeliest[:, 0], kind="stable")
        free = free[order[: max(count, len(free) // 2)]]
    chosen: Ids = free[pick_representatives(seen[free], seen[known], count)]
    return chosen


def selection_features(card: ModelCard, vectors: Halves, probabilities: Floats) -> Floats:
    """What a model makes of N pictures, from their embeddings, (N, embedding size), and probabilities, (N, labels): unit vectors,
    float32, of what they feel beside what their look-alikes do, where the model can tell who is drawn.

    So their groups are expressions, whoever shows them; groups of what is felt as such are characters as well. Of what was tried
    on four artists that a model had not seen, this was the best and the least often worse than chance (bench/teaching.py
    compares). For other models it is what is felt and how surely: between the square roots of probabilities distance is
    Hellinger's, which tells doubts apart, too.
    """
    felt = vectors[:, card.space_slice(FEEL)].astype(np.float32)
    if card.spaces:
        whole = felt - fit_baseline(card, vectors.astype(np.float32)).expected_expression(
            vectors[:, card.space_slice(LOOK)].astype(np.float32)
        )
    else:
        whole = np.concatenate([_SHARE * felt, np.sqrt(probabilities)], axis=1)
    unit: Floats = whole / np.maximum(np.linalg.norm(whole, axis=1, keepdims=True), np.float32(1e-6))
    return unit
