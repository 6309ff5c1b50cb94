"""Derivation: predictions of one model from the stored predictions of others, without their networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, exists, select

from db.schema import LabelRow, ModelRow, PredictionRow
from db.sql.dialect import chunks, no_index
from db.sql.locks import lock_predictions
from db.sql.prediction_rows import predict_again, record_generation
from db.sql.unpacking import unpacking_from

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.ports.store_writer import Combine

_CHUNK_ROWS = 4096

Regions = Mapping[int, Mapping[int, bytes]]
"""Probabilities as stored, by image and region."""


def derive(connection: Connection, target: int, sources: Sequence[int], combine: Combine, advance: Callable[[int], None]) -> int:
    """Add predictions, see `indexer.ports.store_writer.StoreWriter.derive`, within a transaction."""
    lock_predictions(connection, target)
    labels_of = {model_id: _labels(connection, model_id) for model_id in (target, *sources)}
    with unpacking_from(connection):
        labeled: dict[int, str] = dict(connection.execute(select(LabelRow.image_id, LabelRow.emotion)).all())
    derived = after = 0
    while rows := _next(connection, sources[0], target, after):
        after = rows[-1].id
        others = [_regions(connection, model_id, {row.image_id for row in rows}) for model_id in sources[1:]]
        complete = [row for row in rows if all(row.image_id in regions for regions in others)]
        if complete:
            with unpacking_from(connection):
                inputs = [_array([row.probabilities for row in complete], labels_of[sources[0]])]
                for model_id, regions in zip(sources[1:], others, strict=True):
                    values = [_of_region(regions[row.image_id], row.region) for row in complete]
                    inputs.append(_array(values, labels_of[model_id]))
            probabilities = combine(inputs).astype("<f4")
            predict_again(connection, target, complete, labels_of[target], probabilities, labeled)
        derived += len(complete)
        advance(len(rows))
    if derived:
        record_generation(connection, target)
    return derived


def _labels(connection: Connection, model_id: int) -> list[str]:
    with unpacking_from(connection):
        labels: list[str] = connection.execute(select(ModelRow.labels).where(ModelRow.id == model_id)).scalar_one()
    return labels


def _next(connection: Connection, source: int, target: int, after: int) -> Sequence[Row[Any]]:
    """Return the next predictions of a model, by id, of regions of which the target has none."""
    row, done = PredictionRow, PredictionRow.table.alias()
    missing = ~exists().where(done.c.image_id == row.image_id, done.c.region == row.region, done.c.model_id == target)
    query = select(row.table).where(no_index(row.model_id) == source, row.id > after, missing).order_by(row.id)
    return connection.execute(query.limit(_CHUNK_ROWS)).all()


def _regions(connection: Connection, model_id: int, images: set[int]) -> Regions:
    """Return the predictions of a model for some images."""
    row = PredictionRow
    found: dict[int, dict[int, bytes]] = {}
    for chunk in chunks(sorted(images)):
        query = select(row.image_id, row.region, row.probabilities)
        own = (row.image_id.in_(chunk), no_index(row.model_id) == model_id)
        for image_id, region, probabilities in connection.execute(query.where(*own)):
            found.setdefault(image_id, {})[region] = probabilities
    return found


def _of_region(regions: Mapping[int, bytes], region: int) -> bytes:
    """Return the prediction for a region, or that for the whole image or the main face if the model divided it otherwise."""
    return regions.get(region, regions[min(regions)])


def _array(values: Sequence[bytes], labels: Sequence[str]) -> npt.NDArray[Any]:
    import numpy as np

    return np.frombuffer(b"".join(values), dtype="<f4").reshape(len(values), len(labels))
