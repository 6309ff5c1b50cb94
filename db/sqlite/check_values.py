"""Checks of stored numbers, one chunk of rows at a time.

Probabilities that are not probabilities, emotions and scores that do not follow from them, and embeddings that are not of unit
length.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from db.sqlite.raw_connection import fetch_chunks
from indexer.domain.predictions import effective_emotions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from indexer.domain.models import ModelCard

K = TypeVar("K")
T = TypeVar("T")

_SUM_TOLERANCE = 0.02
"""How far the sum of probabilities may be from 1."""

_LENGTH_TOLERANCE = 0.02
"""How far a space's part of an embedding may be from length 1: rounding to float16 costs less than a thousandth."""

_SCORE_TOLERANCE = 1e-6


class Queries(Protocol):
    """A connection to a database without SQLAlchemy, of any driver."""

    def execute(self, query: str, /) -> Any:
        """Execute a query; return its cursor."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A wrong prediction with its correct emotion and score. `emotion` is None if the probabilities or the box are wrong."""

    id: int
    image_id: int
    model_id: int
    emotion: str | None = None
    score: float = 0.0


class BrokenEmbedding(NamedTuple):
    """A wrong embedding."""

    id: int
    image_id: int
    embedder_id: int


class _PredictionCheckRow(NamedTuple):
    """The columns of a prediction that the check reads. A damaged database may hold any value in any column but the ids."""

    id: int
    image_id: int
    model_id: int
    region: object
    left: object
    top: object
    right: object
    bottom: object
    emotion: object
    score: object
    probabilities: object
    user_label: str | None


_PREDICTIONS = (
    'SELECT p.id, p.image_id, p.model_id, p.region, p."left", p.top, p."right", p.bottom, p.emotion, p.score, '
    "p.probabilities, l.emotion FROM predictions p LEFT JOIN labels l ON l.image_id = p.image_id ORDER BY p.id"
)


class _EmbeddingCheckRow(NamedTuple):
    """The columns of an embedding that the check reads."""

    id: int
    image_id: int
    embedder_id: int
    vector: object


_EMBEDDINGS = "SELECT id, image_id, embedder_id, vector FROM embeddings ORDER BY id"


def broken_predictions(
    connection: Queries, cards: Mapping[int, ModelCard | None], advance: Callable[[int], None]
) -> Iterator[list[Broken]]:
    """Yield chunks of predictions with wrong probabilities, box, emotion or score, oldest first.

    Predictions of models without a card are skipped. `advance` receives the number of rows of every chunk read.
    """
    for chunk in fetch_chunks(connection.execute(_PREDICTIONS)):
        rows = map(_PredictionCheckRow._make, chunk)
        broken: list[Broken] = []
        for model_id, group in _grouped(rows, lambda row: row.model_id).items():
            if card := cards.get(model_id):
                broken += _broken_of_model(group, card)
        if broken:
            yield sorted(broken, key=lambda one: one.id)
        advance(len(chunk))


def broken_embeddings(
    connection: Queries, cards: Mapping[int, ModelCard | None], advance: Callable[[int], None]
) -> Iterator[list[BrokenEmbedding]]:
    """Yield chunks of embeddings of a wrong size or length, oldest first.

    Embeddings whose embedder belongs to no model with a card are skipped. `advance` receives the number of rows of every chunk
    read.
    """
    by_embedder = {
        embedder_id: card
        for model_id, embedder_id in connection.execute("SELECT id, embedder_id FROM models")
        if (card := cards.get(model_id)) is not None
    }
    for chunk in fetch_chunks(connection.execute(_EMBEDDINGS)):
        rows = map(_EmbeddingCheckRow._make, chunk)
        broken: list[BrokenEmbedding] = []
        for embedder_id, group in _grouped(rows, lambda row: row.embedder_id).items():
            if card := by_embedder.get(embedder_id):
                unit = _has_unit_spaces(card, [row.vector for row in group])
                broken += [BrokenEmbedding(*row[:3]) for row, sound in zip(group, unit, strict=True) if not sound]
        if broken:
            yield sorted(broken)
        advance(len(chunk))


def _grouped(rows: Iterator[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    groups: dict[K, list[T]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def _broken_of_model(rows: Sequence[_PredictionCheckRow], card: ModelCard) -> Iterator[Broken]:
    """Yield the wrong ones among predictions of one model."""
    import numpy as np

    count = len(card.labels)
    sized = [row for row in rows if _has_size(row.probabilities, 4 * count) and _has_valid_box(row)]
    numbers = np.frombuffer(b"".join(row.probabilities for row in sized), dtype="<f4").reshape(len(sized), count)  # type: ignore[misc]
    with np.errstate(all="ignore"):
        in_range = (numbers.min(axis=1) >= 0) & (numbers.max(axis=1) <= 1 + _SCORE_TOLERANCE)
        valid = in_range & (abs(numbers.sum(axis=1) - 1) <= _SUM_TOLERANCE)
    whole = [row for row, good in zip(sized, valid.tolist(), strict=True) if good]
    whole_ids = {row.id for row in whole}
    yield from (Broken(*row[:3]) for row in rows if row.id not in whole_ids)
    if not whole:
        return
    probabilities = numbers[valid]
    expected = effective_emotions(card.labels, probabilities, [row.user_label for row in whole])
    for row, (emotion, score), own in zip(whole, expected, probabilities, strict=True):
        right = row.emotion == emotion or _is_as_probable(row, card, own)
        if not right or not _is_score(row.score, score, row.user_label):
            yield Broken(row.id, row.image_id, row.model_id, emotion, score)


def _is_as_probable(row: _PredictionCheckRow, card: ModelCard, probabilities: npt.NDArray[np.float32]) -> bool:
    """Return whether the stored emotion is one of several most probable ones: then each of them is right."""
    if row.user_label is not None or row.emotion not in card.labels:
        return False
    return bool(probabilities[card.labels.index(str(row.emotion))] == probabilities.max())


def _is_score(stored: object, expected: float, user_label: str | None) -> bool:
    tolerance = _SCORE_TOLERANCE if user_label is None else 0.0
    return isinstance(stored, float | int) and abs(stored - expected) <= tolerance


def _has_size(value: object, size: int) -> bool:
    return isinstance(value, bytes) and len(value) == size


def _has_valid_box(row: _PredictionCheckRow) -> bool:
    """Return whether a region has its box: none for the whole image, one inside the image for a face."""
    box = (row.left, row.top, row.right, row.bottom)
    if row.region == 0:
        return all(edge is None for edge in box)
    if not all(isinstance(edge, float | int) for edge in box):
        return False
    left, top, right, bottom = (float(str(edge)) for edge in box)
    return 0 <= left < right <= 1 and 0 <= top < bottom <= 1


def _has_unit_spaces(card: ModelCard, vectors: Sequence[object]) -> npt.NDArray[np.bool_]:
    """Return, for each vector, whether it has the card's embedding size and each space's part of it has length 1."""
    import numpy as np

    sized = np.array([_has_size(vector, 2 * card.embedding_size) for vector in vectors], dtype=bool)
    data = b"".join(vector for vector, good in zip(vectors, sized, strict=True) if good)  # type: ignore[misc]
    numbers = np.frombuffer(data, dtype="<f2").reshape(-1, card.embedding_size).astype(np.float32)
    unit = np.ones(len(numbers), dtype=bool)
    with np.errstate(all="ignore"):
        for space in [name for name, _ in card.spaces] or [""]:
            part = numbers[:, card.space_slice(space)]
            unit &= abs(np.sqrt(np.einsum("nd,nd->n", part, part)) - 1) <= _LENGTH_TOLERANCE
    sized[sized] = unit
    return sized
