"""What models predict and users label, and the emotion that follows from both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.domain.images import Face
    from indexer.domain.types import Floats, Halves


@dataclass(frozen=True, slots=True)
class Scores:
    """What a classifier says of a batch of N pictures.

    `probabilities` is float32, (N, labels), rows sum to 1; `embeddings` is float32, (N, embedding size), each space's part of a
    row of length 1.
    """

    probabilities: Floats
    embeddings: Floats


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one model says of one region of a picture.

    `probabilities` are calibrated, in the order of the model's labels; `embedding` is float16, (embedding size,), each space's
    part of it of length 1. `face` is where the region lies; None for the picture as a whole.
    """

    probabilities: tuple[float, ...]
    embedding: Halves = field(repr=False, compare=False)
    face: Face | None = None


AnalyzedImage = tuple[Prediction, ...]
"""The predictions of one image: one for each face, the largest first, or one for the whole image."""


def effective_emotion(labels: Sequence[str], probabilities: Sequence[float], user_label: str | None) -> tuple[str, float]:
    """Return the emotion and score by which searches find a region.

    The user's label overrides the model, with score 1. Without one, it is the most probable of `labels` (the first of equals)
    and its probability, at most 1. `probabilities` are in the order of `labels`.
    """
    if user_label is not None:
        return user_label, 1.0
    best = max(range(len(labels)), key=probabilities.__getitem__)
    return labels[best], min(1.0, probabilities[best])


def effective_emotions(
    labels: Sequence[str], probabilities: Floats, user_labels: Sequence[str | None]
) -> list[tuple[str, float]]:
    """Return `effective_emotion` of N regions.

    `probabilities` is float32, (N, labels); `user_labels` has N entries. A score equals its float32 probability.
    """
    best, scores = probabilities.argmax(axis=1).tolist(), probabilities.max(axis=1).clip(max=1).tolist()
    return [
        (labels[position], score) if user_label is None else (user_label, 1.0)
        for position, score, user_label in zip(best, scores, user_labels, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class LabeledImage:
    """A picture that a person has said the emotion of. `path` is one of its live files; None where there is none any more."""

    image_id: str
    emotion: str
    path: bytes | None


@dataclass(frozen=True, slots=True)
class LabelAssignment:
    """What a person says of the pictures at a path or, with a `digest`, of that picture, wherever it lies; None takes back what
    was said. `row` is where it stands in a table.
    """

    path: bytes
    emotion: str | None
    digest: bytes | None = None
    row: str = ""
