"""Pages of files by their age: the latest entry first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select, func, select

from db.schema import FileRow, PredictionRow
from db.sql.dialect import no_index, one_of
from db.sql.search_queries import SHORT_LIST_ROWS, few_under, model_without_index_hint, ranked_rows

if TYPE_CHECKING:
    from indexer.ports.store_reader import HitFilter


def newest_files(connection: Connection, model_id: int, chosen: HitFilter, emotions: Sequence[str]) -> Select[*tuple[Any, ...]]:
    """Select prediction, score and file of each hit of some emotions, the latest file first.

    If few files or predictions pass a filter, all of them are found and sorted. Otherwise files are read from the latest on
    until the page is full.
    """
    if chosen.under and few_under(connection, chosen.under):
        return ranked_rows(model_without_index_hint(model_id), chosen, emotions).order_by(no_index(FileRow.id).desc())
    if chosen.emotions is not None and _few_predictions(connection, model_id, chosen, emotions):
        return ranked_rows(PredictionRow.model_id == model_id, chosen, emotions).order_by(no_index(FileRow.id).desc())
    return ranked_rows(model_without_index_hint(model_id), chosen, emotions).order_by(FileRow.id.desc())


def _few_predictions(connection: Connection, model_id: int, chosen: HitFilter, emotions: Sequence[str]) -> bool:
    own = (PredictionRow.model_id == model_id, one_of(PredictionRow.emotion, emotions), PredictionRow.score >= chosen.min_score)
    some = select(PredictionRow.id).where(*own).limit(SHORT_LIST_ROWS + 1).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one() <= SHORT_LIST_ROWS
