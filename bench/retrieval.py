"""Measures of search results: precision by emotion, and hits of the same character with another emotion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float32]]
Ids = np.ndarray[Any, np.dtype[np.int64]]

_PRECISION_RANK = 20
_MAX_QUERIES = 600


def precision_at_20(probabilities: Floats, truth: Ids, emotions: Sequence[int]) -> float:
    """Return the share of correct images among the 20 most probable of each emotion.

    The result is the mean over the emotions that occur in `truth`.
    """
    shares = []
    for emotion in emotions:
        if (truth == emotion).any():
            predicted = np.flatnonzero(probabilities.argmax(axis=1) == emotion)
            first = predicted[np.argsort(-probabilities[predicted, emotion], kind="stable")][:_PRECISION_RANK]
            correct = int((truth[first] == emotion).sum())
            shares.append(correct / min(_PRECISION_RANK, int((truth == emotion).sum())))
    return float(np.mean(shares))


def same_character(
    vectors: Floats, predicted: Ids | None, truth: Ids, characters: Sequence[str], seed: int = 0
) -> dict[str, float] | None:
    """Search each character with another emotion; return the hit rates at 1 and at 10.

    A query is an image together with another emotion of its character.

    - `vectors`: unit vectors, float32, (N, D).
    - `predicted`: emotions that filter the results, (N,); None filters nothing.
    - `truth`: emotions of the images, (N,).
    - `characters`: their characters; "" for an unknown one.
    - `seed`: draws at most 600 of all queries.

    Return None if no character has two emotions.
    """
    character_of = np.array(characters)
    shown = {(name, emotion) for name, emotion in zip(characters, truth.tolist(), strict=True)}
    emotions = sorted(set(truth.tolist()))
    all_queries = [
        (row, emotion)
        for row, name in enumerate(characters)
        for emotion in emotions
        if name and emotion != truth[row] and (name, emotion) in shown
    ]
    if not all_queries:
        return None
    random = np.random.default_rng(seed)
    queries = [all_queries[n] for n in random.permutation(len(all_queries))[:_MAX_QUERIES]]
    hits_at_1 = hits_at_10 = 0
    for row, emotion in queries:
        similarities = vectors @ vectors[row]
        similarities[row] = -np.inf
        if predicted is not None:
            similarities[predicted != emotion] = -np.inf
        best = np.argsort(-similarities, kind="stable")[:10]
        best = best[np.isfinite(similarities[best])]
        correct = (character_of[best] == character_of[row]) & (truth[best] == emotion)
        hits_at_1 += bool(correct[:1].any())
        hits_at_10 += bool(correct.any())
    return {
        "questions": len(queries),
        "hit_at_1": round(hits_at_1 / len(queries), 4),
        "hit_at_10": round(hits_at_10 / len(queries), 4),
    }
