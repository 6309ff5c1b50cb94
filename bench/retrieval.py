"""What searches bring: pure emotions, and the same character with another emotion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float32]]
Ids = np.ndarray[Any, np.dtype[np.int64]]

_FIRST = 20
_QUERIES = 600


def precision_at_20(probabilities: Floats, truth: Ids, emotions: Sequence[int]) -> float:
    """The share of right pictures among the 20 surest of each emotion, in the mean over the emotions that occur."""
    shares = []
    for emotion in emotions:
        if (truth == emotion).any():
            guessed = np.flatnonzero(probabilities.argmax(axis=1) == emotion)
            first = guessed[np.argsort(-probabilities[guessed, emotion], kind="stable")][:_FIRST]
            right = int((truth[first] == emotion).sum())
            shares.append(right / min(_FIRST, int((truth == emotion).sum())))
    return float(np.mean(shares))


def same_character(
    vectors: Floats, guesses: Ids | None, truth: Ids, characters: Sequence[str], seed: int = 0
) -> dict[str, float] | None:
    """Asked for a character's picture "but with emotion b": how often such a picture is first, and among the first ten.

    `vectors` are of length 1, (N, D); `guesses` filter by emotion (None: nothing is filtered). Questions are drawn by the seed
    from all (picture, other emotion of its character); None where there are none.
    """
    who = np.array(characters)
    has = {(name, emotion) for name, emotion in zip(characters, truth.tolist(), strict=True)}
    emotions = sorted(set(truth.tolist()))
    asked = [
        (row, emotion)
        for row, name in enumerate(characters)
        for emotion in emotions
        if name and emotion != truth[row] and (name, emotion) in has
    ]
    if not asked:
        return None
    random = np.random.default_rng(seed)
    chosen = [asked[n] for n in random.permutation(len(asked))[:_QUERIES]]
    first = ten = 0
    for row, emotion in chosen:
        similar = vectors @ vectors[row]
        similar[row] = -np.inf
        if guesses is not None:
            similar[guesses != emotion] = -np.inf
        best = np.argsort(-similar, kind="stable")[:10]
        best = best[np.isfinite(similar[best])]
        right = (who[best] == who[row]) & (truth[best] == emotion)
        first += bool(right[:1].any())
        ten += bool(right.any())
    return {"questions": len(chosen), "hit_at_1": round(first / len(chosen), 4), "hit_at_10": round(ten / len(chosen), 4)}
