"""The analyzers of runs: the first is in the row of the run, and the others are in a table of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, bindparam, exists, false, insert, select

from db.schema import FaceDetectorRow, FileRow, FolderRow, ImageRow, ModelRow, PredictionRow, RunModelRow, RunRow
from db.sql.dialect import insert_missing, no_index

if TYPE_CHECKING:
    from indexer.ports.store_writer import RunModel


class RunAnalyzer(NamedTuple):
    """The ids of an analyzer."""

    model_id: int
    finder_id: int | None
    embedder_id: int


def add_detector(connection: Connection, key: str | None) -> int | None:
    """Return the id of a face detector, which is added if it is new; None for None."""
    if key is None:
        return None
    connection.execute(insert_missing(connection.dialect.name, FaceDetectorRow.table).values(key=key))
    return connection.execute(select(FaceDetectorRow.id).where(FaceDetectorRow.key == key)).scalar_one()


def add_further_models(connection: Connection, run_id: int, further: Sequence[RunModel]) -> None:
    """Record the models of a run after the first."""
    for model in further:
        finder_id = add_detector(connection, model.detector)
        connection.execute(insert(RunModelRow.table).values(run_id=run_id, model_id=model.model_id, finder_id=finder_id))


def run_analyzers(connection: Connection, run_id: int) -> tuple[RunAnalyzer, ...]:
    """Return the analyzers of a run, in the order of its models."""
    first = select(RunRow.model_id, RunRow.finder_id, ModelRow.embedder_id).join(ModelRow.table, ModelRow.id == RunRow.model_id)
    row = RunModelRow
    others = select(row.model_id, row.finder_id, ModelRow.embedder_id).join(ModelRow.table, ModelRow.id == row.model_id)
    return (
        RunAnalyzer(*connection.execute(first.where(RunRow.id == run_id)).one()),
        *(RunAnalyzer(*one) for one in connection.execute(others.where(row.run_id == run_id).order_by(row.id))),
    )


# Executed for every file; building it takes three times as long as executing it.
PREDICTED_BY = (
    select(PredictionRow.model_id, PredictionRow.finder_id)
    .join(ImageRow.table, ImageRow.id == PredictionRow.image_id)
    .where(ImageRow.digest == bindparam("digest"))
    .distinct()
)
"""The models, with their face detectors, that have predictions of an image."""


def predicted_by_all(analyzers: Sequence[RunAnalyzer]) -> ColumnElement[bool]:
    """Select the files of whose images all analyzers have predictions, of regions found with their face detectors.

    Without analyzers, these are none.
    """
    row = PredictionRow
    if not analyzers:
        return false()
    return and_(
        *(
            exists().where(
                row.image_id == FileRow.image_id,
                no_index(row.model_id) == one.model_id,
                row.finder_id.is_not_distinct_from(one.finder_id),
            )
            for one in analyzers
        )
    )


def listing_columns(analyzers: Sequence[RunAnalyzer]) -> dict[str, Any]:
    """Return the columns of a folder that name the analyzers of the run that listed it."""
    first, *others = analyzers
    further = " ".join(f"{one.model_id}:{one.finder_id or ''}" for one in others)
    return {"listed_model_id": first.model_id, "listed_finder_id": first.finder_id, "listed_further": further}


def listed_by(analyzers: Sequence[RunAnalyzer]) -> ColumnElement[bool]:
    """Select the folders that a run with the same analyzers listed."""
    columns = listing_columns(analyzers)
    return and_(
        FolderRow.listed_model_id == columns["listed_model_id"],
        FolderRow.listed_finder_id.is_not_distinct_from(columns["listed_finder_id"]),
        FolderRow.listed_further == columns["listed_further"],
    )
