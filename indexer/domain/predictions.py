"""Predictions of models and labels of users."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from indexer.domain.images import Face

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Halves


@dataclass(frozen=True, slots=True)
class Scores:
    """The output of a classifier for a batch of N images.

    - `probabilities`: float32, (N, labels); each row sums to 1.
    - `embeddings`: float32, (N, embedding size); in each row, the part of each space has length 1.
    """

    probabilities: Floats
    embeddings: Floats


@dataclass(frozen=True, slots=True)
class Prediction:
    """The output of one model for one region of an image.

    - `probabilities`: calibrated, 0-1, in the order of the model's labels.
    - `embedding`: float16, (embedding size,); the part of each space has length 1.
    - `face`: the region; None for the whole image.
    """

    probabilities: tuple[float, ...]
    embedding: Halves = field(repr=False, compare=False)
    face: Face | None = None


AnalyzedImage = tuple[Prediction, ...]
"""The predictions of one image: one for each face, the largest first, or one for the whole image."""


@dataclass(frozen=True, slots=True)
class LabeledImage:
    """An image with a user label. `path` is one of its live files; None if it has none."""

    image_id: str
    emotion: str
    path: bytes | None


@dataclass(frozen=True, slots=True)
class LabelAssignment:
    """A label for the images at a path or, with a `digest`, for that image at any path.

    `emotion` is None to remove labels. `row` names the row of the label table, for error messages; "" if there is none.
    """

    path: bytes
    emotion: str | None
    digest: bytes | None = None
    row: str = ""
