"""The numbers in the database, some thousand rows at a time: probabilities that are none, emotions that do not follow from them,
embeddings of the wrong length.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from db.sqlite.raw_connection import fetch_chunks

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from indexer.domain.models import ModelCard

_SUM = 0.02
"""How far probabilities may be from adding up to 1."""

_LENGTH = 0.02
"""How far a space's part of an embedding may be from length 1: float16 costs less than a thousandth."""

_SAME = 1e-6


@dataclass(frozen=True, slots=True)
class Broken:
    """A prediction that is wrong, with the emotion and score it should have; None where its probabilities or place are broken."""

    id: int
    image_id: int
    model_id: int
    emotion: str | None = None
    score: float = 0.0


def broken_predictions(
    connection: sqlite3.Connection, cards: Mapping[int, ModelCard | None], advance: Callable[[int], None]
) -> Iterator[list[Broken]]:
    """Predictions whose probabilities, place, emotion or score are wrong, oldest first; those of models without a card are all
    left out.
    """
    query = (
        'SELECT p.id, p.image_id, p.model_id, p.region, p."left", p.top, p."right", p.bottom, p.emotion, p.score, '
        "p.probabilities, l.emotion FROM predictions p LEFT JOIN labels l ON l.image_id = p.image_id ORDER BY p.id"
    )
    for rows in fetch_chunks(connection.execute(query)):
        by_model: dict[Any, list[Any]] = defaultdict(list)
        for row in rows:
            by_model[row[2]].append(row)
        broken = [one for model, some in by_model.items() if cards.get(model) for one in _wrong(some, cards[model])]  # type: ignore[arg-type]
        if broken:
            yield sorted(broken, key=lambda one: one.id)
        advance(len(rows))


def broken_embeddings(
    connection: sqlite3.Connection, cards: Mapping[int, ModelCard | None], advance: Callable[[int], None]
) -> Iterator[list[tuple[int, int, int]]]:
    """The ids of embeddings that are not what their embedder makes, each with its picture and embedder."""
    like = {
        embedder: cards[model]
        for model, embedder in connection.execute("SELECT id, embedder_id FROM models")
        if cards.get(model) is not None
    }
    query = "SELECT id, image_id, embedder_id, vector FROM embeddings ORDER BY id"
    for rows in fetch_chunks(connection.execute(query)):
        by_embedder: dict[Any, list[Any]] = defaultdict(list)
        for row in rows:
            by_embedder[row[2]].append(row)
        broken = []
        for embedder, some in by_embedder.items():
            card = like.get(embedder)
            if card is not None:
                sound = _unit(card, [row[3] for row in some])
                broken += [(row[0], row[1], row[2]) for row, good in zip(some, sound, strict=True) if not good]
        if broken:
            yield sorted(broken)
        advance(len(rows))


def _wrong(rows: Sequence[Any], card: ModelCard) -> Iterator[Broken]:
    """The wrong ones among predictions of one model."""
    import numpy as np

    count = len(card.labels)
    sized = [row for row in rows if isinstance(row[10], bytes) and len(row[10]) == 4 * count and _placed(*row[3:8])]
    fit = {row[0] for row in sized}
    yield from (Broken(row[0], row[1], row[2]) for row in rows if row[0] not in fit)
    if not sized:
        return
    numbers = np.frombuffer(b"".join(row[10] for row in sized), dtype="<f4").reshape(len(sized), count)
    with np.errstate(all="ignore"):
        low, high, total = numbers.min(axis=1), numbers.max(axis=1), numbers.sum(axis=1)
        good = (low >= 0) & (high <= 1 + _SAME) & (abs(total - 1) <= _SUM)
    best = numbers.argmax(axis=1)
    positions = {label: position for position, label in enumerate(card.labels)}
    for row, whole, position, top, own in zip(sized, good.tolist(), best.tolist(), high.tolist(), numbers, strict=True):
        number, image_id, model_id, emotion, score, said = row[0], row[1], row[2], row[8], row[9], row[11]
        if not whole:
            yield Broken(number, image_id, model_id)
        elif said is not None:
            if emotion != said or score != 1:
                yield Broken(number, image_id, model_id, said, 1.0)
        else:
            as_told = positions.get(emotion)
            # Of two that are equally probable, either will do.
            if as_told is None or own[as_told] < top or not isinstance(score, float | int) or abs(score - min(1.0, top)) > _SAME:
                yield Broken(number, image_id, model_id, card.labels[position], min(1.0, top))


def _placed(region: object, *box: object) -> bool:
    """Whether a region has the place it should: none for the whole, one inside the picture for a face."""
    if region == 0:
        return all(edge is None for edge in box)
    if not all(isinstance(edge, float | int) for edge in box):
        return False
    left, top, right, bottom = (float(str(edge)) for edge in box)
    return 0 <= left < right <= 1 and 0 <= top < bottom <= 1


def _unit(card: ModelCard, vectors: Sequence[object]) -> npt.NDArray[np.bool_]:
    """Which vectors are an embedding of the card's: of its size, and each space's part of length 1."""
    import numpy as np

    width = 2 * card.embedding_size
    sound = np.array([isinstance(vector, bytes) and len(vector) == width for vector in vectors], dtype=bool)
    data = b"".join(vector for vector, good in zip(vectors, sound, strict=True) if good)  # type: ignore[misc]
    numbers = np.frombuffer(data, dtype="<f2").reshape(-1, card.embedding_size).astype(np.float32)
    length_1 = np.ones(len(numbers), dtype=bool)
    with np.errstate(all="ignore"):
        for space in [name for name, _ in card.spaces] or [""]:
            part = numbers[:, card.space_slice(space)]
            length_1 &= abs(np.sqrt(np.einsum("nd,nd->n", part, part)) - 1) <= _LENGTH
    sound[sound] = length_1
    return sound
