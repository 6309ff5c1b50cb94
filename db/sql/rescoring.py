"""Re-scoring: predictions of one model from the stored embeddings of another."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import Connection, exists, select

from db.schema import LabelRow, ModelRow, PredictionRow
from db.sql.locks import lock_predictions
from db.sql.prediction_rows import next_embedded, predict_again, record_generation
from db.sql.unpacking import unpacking_from

if TYPE_CHECKING:
    from indexer.ports.store_writer import Score

_RESCORE_CHUNK_ROWS = 8192


def rescore(connection: Connection, source: int, target: int, score: Score, advance: Callable[[int], None]) -> int:
    """Predict from stored embeddings, see `indexer.ports.store_writer.StoreWriter.rescore`, within a transaction."""
    import numpy as np

    lock_predictions(connection, target)
    row, done = PredictionRow, PredictionRow.table.alias()
    missing = ~exists().where(done.c.image_id == row.image_id, done.c.region == row.region, done.c.model_id == target)
    with unpacking_from(connection):
        facts = select(ModelRow.labels, ModelRow.embedding_size).where(ModelRow.id == target)
        labels, size = connection.execute(facts).one()
        labeled = connection.execute(select(LabelRow.image_id, LabelRow.emotion)).all()
    user_labels: dict[int, str] = dict(labeled)
    rescored = after = 0
    while True:
        with unpacking_from(connection):
            found = connection.execute(next_embedded(source, after, _RESCORE_CHUNK_ROWS, missing)).all()
            vectors = np.frombuffer(b"".join(one.vector for one in found), dtype="<f2").reshape(len(found), size)
        if not found:
            break
        after = found[-1].id
        probabilities = score(vectors).astype("<f4")
        predict_again(connection, target, found, labels, probabilities, user_labels)
        rescored += len(found)
        advance(len(found))
    if rescored:
        record_generation(connection, target)
    return rescored
