"""Predictions of models, labels of users, and the emotion that follows from both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.domain.images import Face
    from indexer.domain.types import Floats, Halves


NEVER_COMPARED, GROUP_CHANGED = -1, 0
"""Stored instead of the id of the newest prediction among which look-alikes of one were searched for.

It was never compared, or it has new look-alikes since.
"""


@dataclass(frozen=True, slots=True)
class Scores:
    """The output of a classifier for a batch of N images.

    - `probabilities`: float32, (N, labels); each row sums to 1.
    - `embeddings`: float32, (N, embedding size); in each row, the part of each space has length 1.
    - `tags`: for each image, its tags with their probabilities, 0-1, the most probable first; empty for a model without tags.
    """

    probabilities: Floats
    embeddings: Floats
    tags: Sequence[Mapping[str, float]] = ()


@dataclass(frozen=True, slots=True)
class Prediction:
    """The output of one model for one region of an image.

    - `probabilities`: calibrated, 0-1, in the order of the model's labels.
    - `embedding`: float16, (embedding size,); the part of each space has length 1.
    - `face`: the region; None for the whole image.
    - `frame`: number, from 1, of the frame of an animation; None for a still image.
    - `fingerprint`: that of the image, see `indexer.domain.fingerprints`, in its first prediction; empty in others.
    - `tags`: as in `Scores`.
    """

    probabilities: tuple[float, ...]
    embedding: Halves = field(repr=False, compare=False)
    face: Face | None = None
    frame: int | None = None
    fingerprint: bytes = field(default=b"", repr=False, compare=False)
    tags: Mapping[str, float] = field(default_factory=dict)


AnalyzedImage = tuple[Prediction, ...]
"""The predictions of one image: one for each face, the largest first, or one for the whole image.

All are of the same frame of an animation.
"""


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
    """An image with a user label. `path` is one of its live files; None if it has none: then the label is orphaned.

    `last_path` is where the image of an orphaned label was last, if that is known.
    """

    image_id: str
    emotion: str
    path: bytes | None
    last_path: bytes | None = None


@dataclass(frozen=True, slots=True)
class LabelAssignment:
    """A label for the images at a path or, with a `digest`, for that image at any path.

    `emotion` is None to remove labels. `row` names the row of the label table, for error messages; "" if none exists.
    """

    path: bytes
    emotion: str | None
    digest: bytes | None = None
    row: str = ""
