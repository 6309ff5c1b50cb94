"""Page anchors: ranks in long lists of hits, so that a page far down is found without counting up to it.

A list is all live files of an emotion, with or without its children, best first. Triggers delete all anchors in the transaction
that changes a list; they are built again at the end of a run. Without anchors, searches give the same results, but more slowly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Insert, Row, Select, and_, func, insert, literal, or_, select

from db.schema import FileRow, LabelRow, ModelRow, PageAnchorRow, PredictionRow
from db.sql.dialect import one_of
from db.sql.search_queries import best_first, ranked_query
from db.sql.unpacking import unpacking_from
from indexer.domain.emotions import with_children
from indexer.domain.images import MAX_FACES
from indexer.ports.store_reader import HitFilter

if TYPE_CHECKING:
    from db.sql.tuning import StoreTuning
    from indexer.domain.queries import HitKey

_FIELDS = ("model_id", "emotions", "place", "score", "prediction_id", "file_id")


def build_page_anchors(connection: Connection, model_id: int, tuning: StoreTuning) -> None:
    """Build the page anchors of a model's long lists that have none."""
    anchored = set(
        connection.execute(select(PageAnchorRow.emotions).where(PageAnchorRow.model_id == model_id).distinct()).scalars()
    )
    for emotions in _lists(connection, model_id, tuning.anchored_list_rows):
        own = and_(PredictionRow.model_id == model_id, one_of(PredictionRow.emotion, emotions))
        beyond = select(PredictionRow.id).where(own).offset(tuning.anchored_list_rows).limit(1)
        if _name(emotions) not in anchored and connection.execute(beyond).first() is not None:
            connection.execute(_insert_anchors(model_id, emotions, tuning.anchor_spacing_rows))


def _insert_anchors(model_id: int, emotions: frozenset[str], spacing: int) -> Insert:
    hits = ranked_query(model_id, HitFilter(emotions), sorted(emotions)).subquery()
    rank = func.row_number().over(order_by=best_first(hits)) - 1
    row = select(hits, rank.label("place")).subquery().c
    whose = literal(model_id).label("model_id"), literal(_name(emotions)).label("emotions")
    anchors = select(*whose, row.place, row.score, row.prediction_id, row.file_id).where(row.place % spacing == 0)
    return insert(PageAnchorRow.table).from_select(_FIELDS, anchors)


def skip_to_anchor(
    connection: Connection, model_id: int, chosen: HitFilter, offset: int
) -> tuple[int, tuple[ColumnElement[bool], ...]]:
    """Return how many hits to skip after the last anchor up to an offset, and the conditions for hits after that anchor."""
    if not _is_anchored(chosen) or chosen.emotions is None:
        return offset, ()
    anchor = connection.execute(_last_anchor(model_id, chosen.emotions, PageAnchorRow.place <= offset)).first()
    if anchor is None:
        return offset, ()
    return offset - anchor.place, _from_anchor(anchor)


def count_with_anchors(connection: Connection, model_id: int, chosen: HitFilter) -> int | None:
    """Count the hits of a filter from its last anchor on; None if it has none, and all would have to be counted."""
    if not _is_anchored(chosen) or chosen.emotions is None:
        return None
    own = PageAnchorRow.score >= chosen.min_score
    anchor = connection.execute(_last_anchor(model_id, chosen.emotions, own)).first()
    if anchor is None:
        return None
    rest = ranked_query(model_id, chosen, sorted(chosen.emotions), *_from_anchor(anchor)).subquery()
    return int(anchor.place) + connection.execute(select(func.count()).select_from(rest)).scalar_one()


def after_place(key: HitKey) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for the hits after a place in a list."""
    return _beyond(key.score, key.prediction_id, FileRow.id > key.file_id)


def _from_anchor(anchor: Row[Any]) -> tuple[ColumnElement[bool], ...]:
    return _beyond(anchor.score, anchor.prediction_id, FileRow.id >= anchor.file_id)


def _beyond(score: float, prediction_id: int, files: ColumnElement[bool]) -> tuple[ColumnElement[bool], ...]:
    same = and_(PredictionRow.id == prediction_id, files)
    return PredictionRow.score <= score, or_(PredictionRow.score < score, PredictionRow.id > prediction_id, same)


def _is_anchored(chosen: HitFilter) -> bool:
    """Return whether a filter leaves a list as it is, or the beginning of it."""
    return not (chosen.excluded or chosen.under or chosen.hidden or chosen.tags or chosen.excluded_tags)


def _last_anchor(model_id: int, emotions: frozenset[str], where: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    row = PageAnchorRow
    own = and_(row.model_id == model_id, row.emotions == _name(emotions), where)
    return select(row.table).where(own).order_by(row.place.desc()).limit(1)


def _lists(connection: Connection, model_id: int, rows: int) -> set[frozenset[str]]:
    """Return the sets of emotions that searches for one emotion ask for, without most of those that have fewer than `rows` hits.

    Users may have thousands of emotions. An image has at most `MAX_FACES` predictions, so that few labels make a short list.
    """
    frequent = select(LabelRow.emotion).group_by(LabelRow.emotion).having(func.count() > rows // MAX_FACES)
    with unpacking_from(connection):
        labels = connection.execute(select(ModelRow.labels).where(ModelRow.id == model_id)).scalar_one()
        known = {*labels, *connection.execute(frequent).scalars()}
    return {frozenset({emotion}) for emotion in known} | {with_children(emotion) & known for emotion in known}


def _name(emotions: frozenset[str]) -> str:
    return "\n".join(sorted(emotions))
