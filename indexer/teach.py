"""What is taught from and about: the labels a person gave, and the pictures whose labels would help most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from indexer.domain import FEEL, LOOK
from indexer.errors import UsageError
from indexer.messages import Lesson, Suggestion
from indexer.ports import Filter

if TYPE_CHECKING:
    from indexer.domain import Floats, Halves, Ids, ModelCard
    from indexer.ports import Shelf, StoredModel

_SAMPLED = 2000
_FEWEST = 4
_CANDIDATES = 20_000
_ROUNDS = 10
_SHARE = np.float32(0.5)
"""How long what is felt and how it looks are beside what the model says."""


def lesson(shelf: Shelf, model: StoredModel) -> Lesson:
    """The pictures that a person has labelled and the model has seen, with what it says of them itself, and a sample of all.

    Of a picture with several faces the main one is taken for what the person meant.

    Raises UsageError for too few to learn from.
    """
    hits = [
        (found[0].prediction_id, one.emotion, found[0].hit.emotions)
        for one in shelf.labelled()
        if one.path is not None and (found := shelf.predicted_at(model.id, one.path))
    ]
    labels = tuple(label for _, label, _ in hits)
    if len(hits) < _FEWEST or len(set(labels)) < 2:
        raise UsageError(
            f"There is too little to learn from: {len(hits)} labelled pictures of {len(set(labels))} emotions are indexed with "
            f"{model.card.name!r}. Label a few of two emotions at least: moodex label PATH... --emotion EMOTION"
        )
    vectors = shelf.vectors_of([prediction_id for prediction_id, _, _ in hits])
    sample = shelf.sample(model.id, _SAMPLED)
    return Lesson(
        np.stack([vectors[prediction_id] for prediction_id, _, _ in hits]).astype(np.float32),
        labels,
        tuple(max(emotions, key=emotions.__getitem__) for _, _, emotions in hits),
        sample.vectors.astype(np.float32),
        sample.probabilities,
    )


def suggest(shelf: Shelf, model: StoredModel, count: int) -> list[Suggestion]:
    """Unlabelled pictures whose labels would teach most, by emotion and then by how unsure the model is.

    Pictures of a sample are grouped by what the model makes of them, into as many groups as are wanted beside those that labels
    cover; the one nearest to the middle of each group stands for it (Hacohen et al., "Active Learning on a Budget",
    arXiv:2202.02794: with few labels typical pictures teach more than unsure ones).
    """
    sample = shelf.sample(model.id, _CANDIDATES)
    labelled = {one.image_id for one in shelf.labelled()}
    vectors = impressions(model.card, sample.vectors, sample.probabilities)
    hits = shelf.hits(model.id, sample.ids.tolist(), Filter())
    live = [row for row, number in enumerate(sample.ids.tolist()) if number in hits]
    known = [row for row in live if hits[int(sample.ids[row])][0].image_id in labelled]
    free = np.array([row for row in live if row not in set(known)], dtype=np.int64)
    chosen = free[representatives(vectors[free], vectors[known], count)]
    found = [hits[int(sample.ids[row])][0] for row in chosen]
    suggestions = [Suggestion(hit.path, hit.image_id, hit.emotion, hit.score) for hit in found]
    return sorted(suggestions, key=lambda one: (one.emotion, one.score, one.path))


def impressions(card: ModelCard, vectors: Halves, probabilities: Floats) -> Floats:
    """What a model makes of N pictures, from their embeddings, (N, embedding size), and probabilities, (N, labels): unit vectors,
    float32, of what they feel, how they look, and how surely.

    Between the square roots of probabilities distance is Hellinger's: it tells doubts apart, too, so that groups of such vectors
    take in every emotion and what lies between them. With the look they take in who is drawn as well: of what was tried on four
    artists that a model had not seen, this was the best and the least often worse than chance (bench/teaching.py compares).
    """
    spaces = [card.columns(space) for space in (FEEL, LOOK)] if card.spaces else [card.columns(FEEL)]
    parts = [_SHARE * vectors[:, columns].astype(np.float32) for columns in spaces]
    whole = np.concatenate([*parts, np.sqrt(probabilities)], axis=1)
    unit: Floats = whole / np.linalg.norm(whole, axis=1, keepdims=True)
    return unit


def representatives(vectors: Floats, covered: Floats, count: int) -> Ids:
    """Rows of unit vectors, (N, D), one for each of `count` groups of them that no `covered` vector, (M, D), stands for.

    Spherical k-means, whose groups around the covered vectors stay where they are. Deterministic.
    """
    count = min(count, len(vectors))
    if count == 0:
        return np.empty(0, dtype=np.int64)
    centres = _spread(vectors, covered, count)
    for _ in range(_ROUNDS):
        groups = (vectors @ np.concatenate([centres, covered]).T).argmax(axis=1)
        for group in range(count):
            if (groups == group).any():
                middle = vectors[groups == group].sum(axis=0)
                centres[group] = middle / max(float(np.linalg.norm(middle)), 1e-12)
    near = vectors @ centres.T
    rows: list[int] = []
    for group in range(count):
        order = np.argsort(-near[:, group], kind="stable")
        rows.append(next(int(row) for row in order if int(row) not in rows))
    return np.array(rows, dtype=np.int64)


def _spread(vectors: Floats, covered: Floats, count: int) -> Floats:
    """First centres, far from each other and from what is covered: k-means++ (Arthur and Vassilvitskii 2007)."""
    random = np.random.default_rng(0)
    nearest = np.full(len(vectors), -1.0, dtype=np.float32)
    for vector in covered:
        np.maximum(nearest, vectors @ vector, out=nearest)
    centres = np.empty((count, vectors.shape[1]), dtype=np.float32)
    for number in range(count):
        far = np.clip(1 - nearest, 0, None).astype(np.float64) ** 2 + 1e-12
        centres[number] = vectors[random.choice(len(vectors), p=far / far.sum())]
        np.maximum(nearest, vectors @ centres[number], out=nearest)
    return centres
