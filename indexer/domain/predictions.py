"""What models and users say of images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from indexer.domain.images import Face

if TYPE_CHECKING:
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
