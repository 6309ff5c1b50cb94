"""Writing predictions, each with its emotion and score, and what models that share embeddings say of them."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Join, and_, delete, exists, func, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from db.tables import EmbeddingRow, GenerationRow, LabelRow, ModelRow, PredictionRow
from indexer.ports import Predicted

if TYPE_CHECKING:
    from indexer.ports import Score

T = TypeVar("T")
_CHUNK = 500
_RESCORED_AT_ONCE = 8192
_ADD_PREDICTION = (
    'INSERT INTO predictions (image_id, model_id, region, "left", top, "right", bottom, emotion, score, probabilities) '
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
"""As SQL, for SQLAlchemy's own insert costs more than all else for a million rows."""


def chunks(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """The values in lists of at most `size`: SQLite limits the parameters of one statement."""
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk


def embedded() -> Join:
    """Predictions with their embeddings."""
    same = and_(
        EmbeddingRow.embedder_id == ModelRow.embedder_id,
        EmbeddingRow.image_id == PredictionRow.image_id,
        EmbeddingRow.region == PredictionRow.region,
    )
    models = PredictionRow.table.join(ModelRow.table, ModelRow.id == PredictionRow.model_id)
    return models.join(EmbeddingRow.table, same)


def write_predictions(connection: Connection, model_id: int, images: Mapping[bytes, int], entries: Sequence[Predicted]) -> None:
    image_ids = [images[entry.image.digest] for entry in entries]
    for chunk in chunks(image_ids, _CHUNK):
        connection.execute(
            delete(PredictionRow.table).where(PredictionRow.image_id.in_(chunk), PredictionRow.model_id == model_id)
        )
    rows = [
        {
            "image_id": image_id,
            "region": entry.prediction.region,
            "probabilities": struct.pack(f"<{len(entry.prediction.probabilities)}f", *entry.prediction.probabilities),
        }
        for image_id, entry in zip(image_ids, entries, strict=True)
    ]
    _insert_predictions(connection, model_id, rows)
    embedder = connection.execute(select(ModelRow.embedder_id).where(ModelRow.id == model_id)).scalar_one()
    vectors = [
        {
            "embedder_id": embedder,
            "image_id": image_id,
            "region": entry.prediction.region,
            "vector": entry.prediction.embedding.astype("<f2").tobytes(),
        }
        for image_id, entry in zip(image_ids, entries, strict=True)
    ]
    statement = upsert(EmbeddingRow.table)
    renewed = statement.on_conflict_do_update(
        index_elements=["embedder_id", "image_id", "region"], set_={"vector": statement.excluded.vector}
    )
    connection.execute(renewed, vectors)


def rewrite_predictions(connection: Connection, image_ids: Sequence[int]) -> None:
    """Write what models say of pictures anew, as labels have changed: under new ids, which are all that vector indexes follow."""
    row = PredictionRow
    query = (
        select(row.id, row.model_id, row.image_id, row.region, row.left, row.top, row.right, row.bottom, row.probabilities)
        .where(row.image_id.in_(image_ids))
        .order_by(row.model_id, row.id)
    )
    found = [dict(one._mapping) for one in connection.execute(query)]
    connection.execute(delete(row.table).where(row.id.in_([one.pop("id") for one in found])))
    for model_id, group in groupby(found, key=lambda one: one.pop("model_id")):
        _insert_predictions(connection, model_id, list(group))


def rescore(connection: Connection, source: int, target: int, score: Score, advance: Callable[[int], None]) -> int:
    """As `indexer.ports.Catalog.rescore`, within a transaction."""
    import numpy as np

    row, done = PredictionRow, PredictionRow.table.alias()
    columns = (row.id, row.image_id, row.region, row.left, row.top, row.right, row.bottom, EmbeddingRow.vector)
    missing = ~exists().where(done.c.image_id == row.image_id, done.c.region == row.region, done.c.model_id == target)
    labels = connection.execute(select(ModelRow.labels).where(ModelRow.id == target)).scalar_one()
    labelled = connection.execute(select(LabelRow.image_id, LabelRow.emotion)).all()
    said: dict[int, str] = dict(labelled)
    rescored = after = 0
    while True:
        portion = select(*columns).select_from(embedded()).where(row.model_id == source, row.id > after, missing)
        found = connection.execute(portion.order_by(row.id).limit(_RESCORED_AT_ONCE)).all()
        if not found:
            break
        after = found[-1].id
        vectors = np.frombuffer(b"".join(one.vector for one in found), dtype="<f2").reshape(len(found), -1)
        probabilities = score(vectors).astype("<f4")
        best, surest = probabilities.argmax(axis=1).tolist(), probabilities.max(axis=1).clip(max=1).tolist()
        rows = []
        for one, position, probability, numbers in zip(found, best, surest, probabilities, strict=True):
            own = said.get(one.image_id)
            emotion, sure = (labels[position], probability) if own is None else (own, 1.0)
            place = (one.image_id, target, one.region, one.left, one.top, one.right, one.bottom)
            rows.append((*place, emotion, sure, numbers.tobytes()))
        connection.exec_driver_sql(_ADD_PREDICTION, rows)
        rescored += len(rows)
        advance(len(rows))
    if rescored:
        _note_generation(connection, target)
    return rescored


def _insert_predictions(connection: Connection, model_id: int, rows: Sequence[dict[str, Any]]) -> None:
    """Add predictions, each with its emotion and score, and the state of the model that they make."""
    labels = connection.execute(select(ModelRow.labels).where(ModelRow.id == model_id)).scalar_one()
    said: dict[int, str] = {}
    for chunk in chunks([row["image_id"] for row in rows], _CHUNK):
        said.update(connection.execute(select(LabelRow.image_id, LabelRow.emotion).where(LabelRow.image_id.in_(chunk))).all())
    for row in rows:
        # The stored float32, so that the score equals the emotion's entry among the probabilities.
        probabilities = struct.unpack(f"<{len(labels)}f", row["probabilities"])
        best = max(range(len(labels)), key=probabilities.__getitem__)
        own = said.get(row["image_id"])
        emotion, score = (labels[best], min(1.0, probabilities[best])) if own is None else (own, 1.0)
        row.update(model_id=model_id, emotion=emotion, score=score)
    connection.execute(insert(PredictionRow.table), rows)
    _note_generation(connection, model_id)


def _note_generation(connection: Connection, model_id: int) -> None:
    """Remember the state of a model that predictions added just now have made: theirs are the greatest ids there are."""
    newest = connection.execute(select(func.max(PredictionRow.id))).scalar_one()
    generation = {"model_id": model_id, "last_prediction_id": newest, "token": secrets.token_hex(16)}
    connection.execute(insert(GenerationRow.table), [generation])
