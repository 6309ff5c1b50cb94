"""What a search is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.domain.types import Floats


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A search as it was typed: `image` is a picture file, `like` an indexed id or path."""

    image: bytes | None = None
    like: bytes | None = None
    emotions: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    exact_label: bool = False
    min_score: float = 0.0
    under: bytes | None = None
    limit: int = 20
    offset: int = 0
    dedupe: bool = False


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A search as the engine runs it.

    `emotions` are all emotions that match, sub-emotions included (None: any); images with a face of an `excluded` emotion never
    match. `min_score` is the least probability (0-1) of the emotion that matches. `like`, an embedding, float32,
    (embedding size,), orders hits by similar appearance. `under` is an absolute folder. `dedupe` shows near-duplicates once.
    """

    emotions: frozenset[str] | None = None
    excluded: frozenset[str] = frozenset()
    min_score: float = 0.0
    like: Floats | None = field(default=None, repr=False, compare=False)
    under: bytes | None = None
    limit: int = 20
    offset: int = 0
    dedupe: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """One file that answers a query.

    `image_id` is the hex BLAKE3 digest of its bytes; `emotion` its most probable one and `score` that probability, or what a
    person said (`label`) and 1; `emotions` all probabilities of the model; `similarity` the cosine to the picture asked for, None
    where none was. `box` is the face that answers: left, top, right and bottom edge in pixels of the picture; None where none was
    found, and the picture answers as a whole.
    """

    path: bytes
    image_id: str
    emotion: str
    score: float
    emotions: dict[str, float]
    similarity: float | None = None
    label: str | None = None
    box: tuple[int, int, int, int] | None = None
