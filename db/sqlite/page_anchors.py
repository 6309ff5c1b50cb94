"""Marks in long lists: how many places lie before some of them, so that a far page is found without counting up to it.

A list is all live files of an emotion, with or without its children, best first. What changes one takes the marks away, by
triggers, in the same transaction; they are set again when a run ends. Without them answers are the same, but later.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, and_, func, insert, literal, or_, select

from db.sqlite.errors import reading_rows
from db.sqlite.schema import FileRow, LabelRow, ModelRow, PageAnchorRow, PredictionRow
from db.sqlite.search_queries import best_first, ranked_query
from indexer.domain.emotions import with_children
from indexer.ports.store_reader import HitFilter

_MIN_LIST_ROWS = 5_000
"""Shorter lists need none: their last page takes some 5 ms."""

_ANCHOR_SPACING_ROWS = 500
_FIELDS = ("model_id", "emotions", "place", "score", "prediction_id", "file_id")


def build_page_anchors(connection: Connection, model_id: int) -> None:
    """Mark those long lists of a model that have no marks."""
    marked = set(
        connection.execute(select(PageAnchorRow.emotions).where(PageAnchorRow.model_id == model_id).distinct()).scalars()
    )
    for emotions in _lists(connection, model_id):
        of_these = and_(PredictionRow.model_id == model_id, PredictionRow.emotion.in_(sorted(emotions)))
        far = select(PredictionRow.id).where(of_these).offset(_MIN_LIST_ROWS).limit(1)
        if _name(emotions) not in marked and connection.execute(far).first() is not None:
            every = ranked_query(model_id, HitFilter(emotions), emotions).subquery()
            number = func.row_number().over(order_by=best_first(every)) - 1
            row = select(every, number.label("place")).subquery().c
            whose = literal(model_id).label("model_id"), literal(_name(emotions)).label("emotions")
            marks = select(*whose, row.place, row.score, row.prediction_id, row.file_id).where(
                row.place % _ANCHOR_SPACING_ROWS == 0
            )
            connection.execute(insert(PageAnchorRow.table).from_select(_FIELDS, marks))


def skip_to_anchor(
    connection: Connection, model_id: int, chosen: HitFilter, offset: int
) -> tuple[int, tuple[ColumnElement[bool], ...]]:
    """How many places of a list are still to be counted up to an offset, and what says that a place is one of those."""
    if chosen.emotions is None or chosen.excluded or chosen.under is not None:
        return offset, ()
    own = and_(
        PageAnchorRow.model_id == model_id, PageAnchorRow.emotions == _name(chosen.emotions), PageAnchorRow.place <= offset
    )
    mark = connection.execute(select(PageAnchorRow.table).where(own).order_by(PageAnchorRow.place.desc()).limit(1)).first()
    if mark is None:
        return offset, ()
    same = and_(PredictionRow.id == mark.prediction_id, FileRow.id >= mark.file_id)
    beyond = or_(PredictionRow.score < mark.score, PredictionRow.id > mark.prediction_id, same)
    return offset - mark.place, (PredictionRow.score <= mark.score, beyond)


def _lists(connection: Connection, model_id: int) -> set[frozenset[str]]:
    """What searches ask for when they name one emotion."""
    with reading_rows(connection):
        labels = connection.execute(select(ModelRow.labels).where(ModelRow.id == model_id)).scalar_one()
        known = {*labels, *connection.execute(select(LabelRow.emotion).distinct()).scalars()}
    return {frozenset({emotion}) for emotion in known} | {with_children(emotion) & known for emotion in known}


def _name(emotions: frozenset[str]) -> str:
    return "\n".join(sorted(emotions))
