"""Rows of predictions, embeddings and generations: added, or rewritten after a change of labels."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Join, Select, and_, delete, exists, func, insert, or_, select, tuple_, update

from db.schema import DIGEST_START_BYTES, EmbeddingRow, GenerationRow, ImageTagRow, LabelRow, ModelRow, PredictionRow
from db.sql.dialect import among, chunks, insert_tuples, no_index, upsert
from db.sql.locks import lock_predictions
from db.sql.tag_rows import write_tags
from db.sql.unpacking import unpacking_from
from indexer.domain.images import MAIN_FACE, WHOLE_IMAGE
from indexer.domain.predictions import NEVER_COMPARED, Prediction, effective_emotion, effective_emotions

if TYPE_CHECKING:
    from sqlalchemy.dialects.sqlite import Insert

    from db.sql.run_analyzers import RunAnalyzer
    from indexer.domain.predictions import AnalyzedImage
    from indexer.domain.types import Floats

_COLUMNS = (
    "image_id", "model_id", "region", "finder_id", "left", "top", "right", "bottom", "emotion", "score", "probabilities",
    "compared_to", "frame", "digest_start",
)  # fmt: skip
"""All columns of a prediction but its id."""

_EMBEDDING_COLUMNS = ("embedder_id", "image_id", "region", "vector", "fingerprint")
"""All columns of an embedding but its id."""

_REGION_COLUMNS = (
    PredictionRow.region,
    PredictionRow.finder_id,
    PredictionRow.left,
    PredictionRow.top,
    PredictionRow.right,
    PredictionRow.bottom,
    PredictionRow.frame,
    PredictionRow.digest_start,
)
"""The columns that describe the image and its region that a prediction is for, and its face detector."""


def embedded() -> Join:
    """Join predictions with their embeddings."""
    same = and_(
        EmbeddingRow.embedder_id == ModelRow.embedder_id,
        EmbeddingRow.image_id == PredictionRow.image_id,
        EmbeddingRow.region == PredictionRow.region,
    )
    models = PredictionRow.table.join(ModelRow.table, ModelRow.id == PredictionRow.model_id)
    return models.join(EmbeddingRow.table, same)


def next_embedded(model_id: int, after: int, limit: int, *conditions: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """Select a model's next predictions by id, each with its embedding.

    Predictions are read in the order of the table. With an index by model SQLite would sort all that are left, for every chunk.
    """
    row = PredictionRow
    own = no_index(row.model_id) == model_id
    rows = select(row.table).where(own, row.id > after, *conditions).order_by(row.id).limit(limit)
    found = rows.subquery()
    embedder = select(ModelRow.embedder_id).where(ModelRow.id == model_id).scalar_subquery()
    same = and_(
        EmbeddingRow.embedder_id == embedder, EmbeddingRow.image_id == found.c.image_id, EmbeddingRow.region == found.c.region
    )
    return select(found, EmbeddingRow.vector).join_from(found, EmbeddingRow.table, same).order_by(found.c.id)


def write_predictions(
    connection: Connection, analyzer: RunAnalyzer, predictions: Mapping[int, AnalyzedImage], digests: Mapping[int, bytes]
) -> None:
    """Replace the predictions of an analyzer for some images, and their embeddings. Both mappings are by the id of the image."""
    for chunk in chunks(predictions):
        _forget_images(connection, analyzer, chunk)
    regions = [(image_id, *part) for image_id, analyzed in predictions.items() for part in _numbered(analyzed)]
    rows = [
        {
            "image_id": image_id,
            "region": region,
            "finder_id": analyzer.finder_id,
            "left": one.face and one.face.left,
            "top": one.face and one.face.top,
            "right": one.face and one.face.right,
            "bottom": one.face and one.face.bottom,
            "frame": one.frame,
            "probabilities": struct.pack(f"<{len(one.probabilities)}f", *one.probabilities),
            "compared_to": NEVER_COMPARED,
            "digest_start": digests[image_id][:DIGEST_START_BYTES],
        }
        for image_id, region, one in regions
    ]
    _insert_predictions(connection, analyzer.model_id, rows)
    # A tagger reads whole images: its tags are those of the first region.
    write_tags(connection, analyzer.embedder_id, {image_id: analyzed[0].tags for image_id, analyzed in predictions.items()})
    vectors = [
        (analyzer.embedder_id, image_id, region, one.embedding.astype("<f2").tobytes(), one.fingerprint or None)
        for image_id, region, one in regions
    ]
    insert_tuples(connection, EmbeddingRow.table, _EMBEDDING_COLUMNS, vectors)


def _forget_images(connection: Connection, analyzer: RunAnalyzer, image_ids: Sequence[int]) -> None:
    """Delete the embeddings of images, the model's predictions, and those with the same embedder but another face detector."""
    row = PredictionRow
    sharing = select(ModelRow.id).where(ModelRow.embedder_id == analyzer.embedder_id)
    other_regions = and_(row.model_id.in_(sharing), row.finder_id.is_distinct_from(analyzer.finder_id))
    outdated = or_(row.model_id == analyzer.model_id, other_regions)
    connection.execute(delete(row.table).where(among(connection, row.image_id, image_ids), outdated))
    embeddings = EmbeddingRow.embedder_id == analyzer.embedder_id
    connection.execute(delete(EmbeddingRow.table).where(embeddings, among(connection, EmbeddingRow.image_id, image_ids)))


def _numbered(predictions: Sequence[Prediction]) -> Iterator[tuple[int, Prediction]]:
    """Yield predictions with the numbers of their regions."""
    for number, prediction in enumerate(predictions):
        yield (WHOLE_IMAGE if prediction.face is None else MAIN_FACE + number), prediction


def predict_again(
    connection: Connection, model_id: int, regions: Sequence[Any], labels: Sequence[str], probabilities: Floats,
    user_labels: Mapping[int, str],
) -> None:  # fmt: skip
    """Add predictions of a model for regions of images, which the rows of another model's predictions describe.

    `probabilities`: float32, (N, L), of the regions, for the model's labels. `user_labels`: by image id.
    """
    results = effective_emotions(labels, probabilities, [user_labels.get(one.image_id) for one in regions])
    rows = [
        (one.image_id, model_id, one.region, one.finder_id, one.left, one.top, one.right, one.bottom, *result,
         numbers.tobytes(), NEVER_COMPARED, one.frame, one.digest_start)
        for one, result, numbers in zip(regions, results, probabilities, strict=True)
    ]  # fmt: skip
    insert_tuples(connection, PredictionRow.table, _COLUMNS, rows)


def rewrite_predictions(connection: Connection, image_ids: Sequence[int], compare_again: bool = False) -> None:
    """Rewrite the predictions of images under new ids after their labels changed; vector indexes detect the new ids.

    With `compare_again`, they count as new among their look-alikes.
    """
    row = PredictionRow
    query = (
        select(row.model_id, row.image_id, *_REGION_COLUMNS, row.probabilities, row.compared_to)
        .where(row.image_id.in_(image_ids))
        .order_by(row.model_id, row.id)
    )
    state = {"compared_to": NEVER_COMPARED} if compare_again else {}
    found = [{**one._mapping, **state} for one in connection.execute(query)]
    connection.execute(delete(row.table).where(row.image_id.in_(image_ids)))
    for model_id, group in groupby(found, key=lambda one: one.pop("model_id")):
        _insert_predictions(connection, model_id, list(group))


def replace_probabilities(
    connection: Connection, model_id: int, probabilities: Mapping[int, bytes], compared_to: int
) -> dict[int, int]:
    """Replace the probabilities of predictions, by id, under new ids, which vector indexes detect; return those by old id.

    Predictions that were deleted, or got new ids from a label, are skipped.

    The rows are updated, not deleted and added: the listings of their folders stay valid.
    """
    row = PredictionRow
    old_ids: dict[tuple[int, int], int] = {}
    rows = []
    for chunk in chunks(sorted(probabilities)):
        found = connection.execute(select(row.id, row.image_id, *_REGION_COLUMNS).where(row.id.in_(chunk)).order_by(row.id))
        for one in found:
            columns = dict(one._mapping)
            old_ids[one.image_id, one.region] = columns.pop("id")
            rows.append({**columns, "probabilities": probabilities[one.id], "compared_to": compared_to})
    if rows:
        _insert_predictions(connection, model_id, rows, upsert_prediction(connection.dialect.name))
    new_ids: dict[int, int] = {}
    for images in chunks(sorted({image_id for image_id, _ in old_ids})):
        own = select(row.id, row.image_id, row.region).where(row.image_id.in_(images), no_index(row.model_id) == model_id)
        for new, image_id, region in connection.execute(own):
            if (image_id, region) in old_ids:
                new_ids[old_ids[image_id, region]] = new
    return new_ids


def upsert_prediction(dialect: str) -> Insert:
    """Return the statement that adds a prediction, or replaces the id and the result of a known one."""
    statement = upsert(dialect, PredictionRow.table)
    new = {name: statement.excluded[name] for name in ("id", "emotion", "score", "probabilities", "compared_to")}
    return statement.on_conflict_do_update(index_elements=["image_id", "model_id", "region"], set_=new)


def set_compared(connection: Connection, ids: Sequence[int], compared_to: int) -> None:
    """Record with which prediction, the newest then, some were compared; they keep their ids."""
    for chunk in chunks(ids):
        compared = update(PredictionRow.table).where(PredictionRow.id.in_(chunk))
        connection.execute(compared.values(compared_to=compared_to))


def _insert_predictions(
    connection: Connection, model_id: int, rows: Sequence[dict[str, Any]], statement: Insert | None = None
) -> None:
    """Add predictions, each with its effective emotion and score, and record a generation.

    `statement` replaces the plain INSERT.
    """
    lock_predictions(connection, model_id)
    with unpacking_from(connection):
        labels = connection.execute(select(ModelRow.labels).where(ModelRow.id == model_id)).scalar_one()
    user_labels: dict[int, str] = {}
    for chunk in chunks([row["image_id"] for row in rows]):
        own = among(connection, LabelRow.image_id, chunk)
        user_labels.update(connection.execute(select(LabelRow.image_id, LabelRow.emotion).where(own)).all())
    complete = []
    with unpacking_from(connection):
        for row in rows:
            # The stored float32, so that the score equals the emotion's entry among the probabilities.
            probabilities = struct.unpack(f"<{len(labels)}f", row["probabilities"])
            emotion, score = effective_emotion(labels, probabilities, user_labels.get(row["image_id"]))
            values = {**row, "model_id": model_id, "emotion": emotion, "score": score}
            complete.append(tuple(values[column] for column in _COLUMNS))
    insert_tuples(connection, PredictionRow.table, _COLUMNS, complete, statement)
    record_generation(connection, model_id)


def record_generation(connection: Connection, model_id: int) -> None:
    """Record a generation that ends at the greatest prediction id, after predictions were added."""
    newest = connection.execute(select(func.max(PredictionRow.id))).scalar_one()
    _insert_generation(connection, model_id, newest)


def renew_generation_token(connection: Connection, model_id: int) -> None:
    """Record a generation with a new token for a model that lost predictions, so that its vector index is compared again.

    The last id stays, because no prediction was added.
    """
    last = select(func.max(GenerationRow.last_prediction_id)).where(GenerationRow.model_id == model_id)
    last_id = connection.execute(last).scalar()
    if last_id is not None:
        _insert_generation(connection, model_id, last_id)


def _insert_generation(connection: Connection, model_id: int, last_id: int) -> None:
    generation = {"model_id": model_id, "last_prediction_id": last_id, "token": secrets.token_hex(16)}
    connection.execute(insert(GenerationRow.table), [generation])


def next_prediction_ids(model_id: int, after: int, limit: int) -> Select[int]:
    """Select at most `limit` prediction ids of a model above `after`, ascending."""
    row = PredictionRow
    own = no_index(row.model_id) == model_id
    return select(row.id).where(own, row.id > after).order_by(row.id).limit(limit)


def delete_predictions(connection: Connection, model_id: int, after: int, last: int) -> None:
    """Delete a model's predictions with ids from `after` + 1 to `last`, and the embeddings that no other model shares."""
    row = PredictionRow
    some = and_(no_index(row.model_id) == model_id, row.id > after, row.id <= last)
    others, sharing = row.table.alias(), ModelRow.table.alias()
    shared = exists().where(
        sharing.c.embedder_id == EmbeddingRow.embedder_id,
        sharing.c.id != model_id,
        others.c.model_id == sharing.c.id,
        others.c.image_id == EmbeddingRow.image_id,
        others.c.region == EmbeddingRow.region,
    )
    alone = select(EmbeddingRow.id).select_from(embedded()).where(some, ~shared)
    embeddings = select(EmbeddingRow.embedder_id, EmbeddingRow.image_id).where(EmbeddingRow.id.in_(alone))
    tagged = tuple_(ImageTagRow.embedder_id, ImageTagRow.image_id).in_(embeddings)
    connection.execute(delete(ImageTagRow.table).where(tagged))
    connection.execute(delete(EmbeddingRow.table).where(EmbeddingRow.id.in_(alone)))
    connection.execute(delete(row.table).where(some))
