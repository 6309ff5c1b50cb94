"""Writing predictions, each with its emotion and score, and what models that share embeddings say of them."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Connection, Join, Select, and_, delete, exists, func, insert, or_, select

from db.sqlite.errors import reading_rows
from db.sqlite.schema import EmbeddingRow, GenerationRow, LabelRow, ModelRow, PredictionRow, RunRow
from indexer.domain.images import MAIN_FACE, WHOLE_IMAGE
from indexer.domain.predictions import Prediction, effective_emotion, effective_emotions
from indexer.ports.store_writer import AnalyzedFileSet

if TYPE_CHECKING:
    from indexer.ports.store_writer import Score

T = TypeVar("T")
_PARAMETERS = 500
_RESCORE_CHUNK_ROWS = 8192
_ADD_PREDICTION = (
    "INSERT INTO predictions "
    '(image_id, model_id, region, finder_id, "left", top, "right", bottom, emotion, score, probabilities) '
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
"""As SQL, for SQLAlchemy's own insert costs more than all else for a million rows."""

_PLACE = (
    PredictionRow.region,
    PredictionRow.finder_id,
    PredictionRow.left,
    PredictionRow.top,
    PredictionRow.right,
    PredictionRow.bottom,
)
"""The columns that say which region of a picture a prediction is about, and what found it."""


def chunks(values: Iterable[T]) -> Iterator[list[T]]:
    """The values in short lists: SQLite limits the parameters of one statement."""
    iterator = iter(values)
    while chunk := list(islice(iterator, _PARAMETERS)):
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


def next_embedded(model_id: int, after: int, limit: int, *conditions: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """The next predictions of a model by id, each with its embedding.

    Predictions are read in the order in which they lie ("+ 0" leaves SQLite no index by model): it would otherwise gather and
    sort all that are left for every portion.
    """
    row = PredictionRow
    rows = select(row.table).where(row.model_id + 0 == model_id, row.id > after, *conditions).order_by(row.id).limit(limit)
    found = rows.subquery()
    embedder = select(ModelRow.embedder_id).where(ModelRow.id == model_id).scalar_subquery()
    same = and_(
        EmbeddingRow.embedder_id == embedder, EmbeddingRow.image_id == found.c.image_id, EmbeddingRow.region == found.c.region
    )
    return select(found, EmbeddingRow.vector).join_from(found, EmbeddingRow.table, same).order_by(found.c.id)


class _Reader(NamedTuple):
    """How a run looks at pictures."""

    model_id: int
    finder_id: int | None
    embedder_id: int


def write_predictions(
    connection: Connection, run_id: int, images: Mapping[bytes, int], entries: Sequence[AnalyzedFileSet]
) -> None:
    """Replace what the run's model said of some pictures, and their embeddings."""
    columns = select(RunRow.model_id, RunRow.finder_id, ModelRow.embedder_id).join(ModelRow.table, ModelRow.id == RunRow.model_id)
    reader = _Reader(*connection.execute(columns.where(RunRow.id == run_id)).one())
    for chunk in chunks([images[entry.image.digest] for entry in entries]):
        _forget_images(connection, reader, chunk)
    regions = [(images[entry.image.digest], *part) for entry in entries for part in _numbered(entry.predictions)]
    rows = [
        {
            "image_id": image_id,
            "region": region,
            "finder_id": reader.finder_id,
            "left": one.face and one.face.left,
            "top": one.face and one.face.top,
            "right": one.face and one.face.right,
            "bottom": one.face and one.face.bottom,
            "probabilities": struct.pack(f"<{len(one.probabilities)}f", *one.probabilities),
        }
        for image_id, region, one in regions
    ]
    _insert_predictions(connection, reader.model_id, rows)
    vectors = [
        {
            "embedder_id": reader.embedder_id,
            "image_id": image_id,
            "region": region,
            "vector": one.embedding.astype("<f2").tobytes(),
        }
        for image_id, region, one in regions
    ]
    connection.execute(insert(EmbeddingRow.table), vectors)


def _forget_images(connection: Connection, reader: _Reader, image_ids: Sequence[int]) -> None:
    """Delete the embeddings of pictures, and the predictions that belong to them no more."""
    row = PredictionRow
    sharing = select(ModelRow.id).where(ModelRow.embedder_id == reader.embedder_id)
    other_regions = and_(row.model_id.in_(sharing), row.finder_id.is_distinct_from(reader.finder_id))
    outdated = or_(row.model_id == reader.model_id, other_regions)
    connection.execute(delete(row.table).where(row.image_id.in_(image_ids), outdated))
    embeddings = EmbeddingRow.embedder_id == reader.embedder_id
    connection.execute(delete(EmbeddingRow.table).where(embeddings, EmbeddingRow.image_id.in_(image_ids)))


def _numbered(predictions: Sequence[Prediction]) -> Iterator[tuple[int, Prediction]]:
    """Predictions with the number of their region."""
    for number, prediction in enumerate(predictions):
        yield (WHOLE_IMAGE if prediction.face is None else MAIN_FACE + number), prediction


def rewrite_predictions(connection: Connection, image_ids: Sequence[int]) -> None:
    """Write what models say of pictures anew, as labels have changed: under new ids, which are all that vector indexes follow."""
    row = PredictionRow
    query = (
        select(row.id, row.model_id, row.image_id, *_PLACE, row.probabilities)
        .where(row.image_id.in_(image_ids))
        .order_by(row.model_id, row.id)
    )
    found = [dict(one._mapping) for one in connection.execute(query)]
    connection.execute(delete(row.table).where(row.id.in_([one.pop("id") for one in found])))
    for model_id, group in groupby(found, key=lambda one: one.pop("model_id")):
        _insert_predictions(connection, model_id, list(group))


def rescore(connection: Connection, source: int, target: int, score: Score, advance: Callable[[int], None]) -> int:
    """As `indexer.ports.store_writer.StoreWriter.rescore`, within a transaction."""
    import numpy as np

    row, done = PredictionRow, PredictionRow.table.alias()
    missing = ~exists().where(done.c.image_id == row.image_id, done.c.region == row.region, done.c.model_id == target)
    with reading_rows(connection):
        facts = select(ModelRow.labels, ModelRow.embedding_size).where(ModelRow.id == target)
        labels, size = connection.execute(facts).one()
        labelled = connection.execute(select(LabelRow.image_id, LabelRow.emotion)).all()
    user_labels: dict[int, str] = dict(labelled)
    rescored = after = 0
    while True:
        with reading_rows(connection):
            found = connection.execute(next_embedded(source, after, _RESCORE_CHUNK_ROWS, missing)).all()
            vectors = np.frombuffer(b"".join(one.vector for one in found), dtype="<f2").reshape(len(found), size)
        if not found:
            break
        after = found[-1].id
        probabilities = score(vectors).astype("<f4")
        effective = effective_emotions(labels, probabilities, [user_labels.get(one.image_id) for one in found])
        rows = []
        for one, answer, numbers in zip(found, effective, probabilities, strict=True):
            place = (one.image_id, target, one.region, one.finder_id, one.left, one.top, one.right, one.bottom)
            rows.append((*place, *answer, numbers.tobytes()))
        connection.exec_driver_sql(_ADD_PREDICTION, rows)
        rescored += len(rows)
        advance(len(rows))
    if rescored:
        record_generation(connection, target)
    return rescored


def _insert_predictions(connection: Connection, model_id: int, rows: Sequence[dict[str, Any]]) -> None:
    """Add predictions, each with its emotion and score, and the state of the model that they make."""
    with reading_rows(connection):
        labels = connection.execute(select(ModelRow.labels).where(ModelRow.id == model_id)).scalar_one()
    user_labels: dict[int, str] = {}
    for chunk in chunks([row["image_id"] for row in rows]):
        user_labels.update(
            connection.execute(select(LabelRow.image_id, LabelRow.emotion).where(LabelRow.image_id.in_(chunk))).all()
        )
    for row in rows:
        # The stored float32, so that the score equals the emotion's entry among the probabilities.
        with reading_rows(connection):
            probabilities = struct.unpack(f"<{len(labels)}f", row["probabilities"])
        emotion, score = effective_emotion(labels, probabilities, user_labels.get(row["image_id"]))
        row.update(model_id=model_id, emotion=emotion, score=score)
    connection.execute(insert(PredictionRow.table), rows)
    record_generation(connection, model_id)


def record_generation(connection: Connection, model_id: int) -> None:
    """Remember the state of a model that predictions added just now have made: theirs are the greatest ids there are."""
    newest = connection.execute(select(func.max(PredictionRow.id))).scalar_one()
    generation = {"model_id": model_id, "last_prediction_id": newest, "token": secrets.token_hex(16)}
    connection.execute(insert(GenerationRow.table), [generation])
