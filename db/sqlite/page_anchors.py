"""Marks in long lists: how many places lie before some of them, so that a far page is found without counting up to it.

A list is all live files of an emotion, with or without its children, best first. What changes one takes the marks away, by
triggers, in the same transaction; they are set again when a run ends. Without them answers are the same, but later.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, and_, func, insert, literal, or_, select

from db.sqlite.schema import FileRow, LabelRow, MarkRow, ModelRow, PredictionRow
from db.sqlite.search_queries import best_first, whole_list
from indexer.domain.emotions import with_children
from indexer.ports import Filter

_LONG = 5_000
"""Shorter lists need none: their last page takes some 5 ms."""

_APART = 500
_FIELDS = ("model_id", "emotions", "place", "score", "prediction_id", "file_id")


def set_marks(connection: Connection, model_id: int) -> None:
    """Mark those long lists of a model that have no marks."""
    marked = set(connection.execute(select(MarkRow.emotions).where(MarkRow.model_id == model_id).distinct()).scalars())
    for emotions in _lists(connection, model_id):
        of_these = and_(PredictionRow.model_id == model_id, PredictionRow.emotion.in_(sorted(emotions)))
        far = select(PredictionRow.id).where(of_these).offset(_LONG).limit(1)
        if _name(emotions) not in marked and connection.execute(far).first() is not None:
            every = whole_list(model_id, Filter(emotions), emotions).subquery()
            number = func.row_number().over(order_by=best_first(every)) - 1
            row = select(every, number.label("place")).subquery().c
            whose = literal(model_id).label("model_id"), literal(_name(emotions)).label("emotions")
            marks = select(*whose, row.place, row.score, row.prediction_id, row.file_id).where(row.place % _APART == 0)
            connection.execute(insert(MarkRow.table).from_select(_FIELDS, marks))


def skip(connection: Connection, model_id: int, chosen: Filter, offset: int) -> tuple[int, tuple[ColumnElement[bool], ...]]:
    """How many places of a list are still to be counted up to an offset, and what says that a place is one of those."""
    if chosen.emotions is None or chosen.excluded or chosen.under is not None:
        return offset, ()
    own = and_(MarkRow.model_id == model_id, MarkRow.emotions == _name(chosen.emotions), MarkRow.place <= offset)
    mark = connection.execute(select(MarkRow.table).where(own).order_by(MarkRow.place.desc()).limit(1)).first()
    if mark is None:
        return offset, ()
    same = and_(PredictionRow.id == mark.prediction_id, FileRow.id >= mark.file_id)
    beyond = or_(PredictionRow.score < mark.score, PredictionRow.id > mark.prediction_id, same)
    return offset - mark.place, (PredictionRow.score <= mark.score, beyond)


def _lists(connection: Connection, model_id: int) -> set[frozenset[str]]:
    """What searches ask for when they name one emotion."""
    labels = connection.execute(select(ModelRow.labels).where(ModelRow.id == model_id)).scalar_one()
    known = {*labels, *connection.execute(select(LabelRow.emotion).distinct()).scalars()}
    return {frozenset({emotion}) for emotion in known} | {with_children(emotion) & known for emotion in known}


def _name(emotions: frozenset[str]) -> str:
    return "\n".join(sorted(emotions))
