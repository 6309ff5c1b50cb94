"""Page anchors: ranks in long lists of hits, so that a page far down is found without counting up to it.

A list is all live files, the latest entry first; or all of them, or those of an emotion, with or without its children, best
first. Triggers delete all anchors in the transaction that changes a list; they are built again at the end of a run, and moved by
labels (`db.sql.anchor_moves`). Without anchors, searches give the same results, but more slowly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, FromClause, Insert, Row, Select, and_, func, insert, literal, or_, select

from db.schema import FileRow, LabelRow, ModelRow, PageAnchorRow, PredictionRow
from db.sql.dialect import one_of
from db.sql.search_queries import best_first, is_live, is_main, is_shown, model_without_index_hint, ranked_query, ranked_rows
from db.sql.unpacking import unpacking_from
from indexer.domain.emotions import with_children
from indexer.domain.images import MAX_FACES
from indexer.ports.store_reader import HitFilter

if TYPE_CHECKING:
    from db.sql.tuning import StoreTuning
    from indexer.domain.queries import HitKey

_FIELDS = ("model_id", "emotions", "place", "score", "prediction_id", "file_id")

NEWEST = "\n"
"""The name of the list of all files by age, which no list of emotions has."""


def build_page_anchors(connection: Connection, model_id: int, tuning: StoreTuning) -> None:
    """Build the page anchors of a model's long lists that have none."""
    anchored = set(
        connection.execute(select(PageAnchorRow.emotions).where(PageAnchorRow.model_id == model_id).distinct()).scalars()
    )
    every = _known_emotions(connection, model_id, 0)
    for emotions in [None, *_lists(connection, model_id, tuning.anchored_list_rows)]:
        own = and_(PredictionRow.model_id == model_id, *([] if emotions is None else [one_of(PredictionRow.emotion, emotions)]))
        beyond = select(PredictionRow.id).where(own).offset(tuning.anchored_list_rows).limit(1)
        if _name(emotions) not in anchored and connection.execute(beyond).first() is not None:
            hits = ranked_query(model_id, HitFilter(emotions), sorted(every if emotions is None else emotions)).subquery()
            connection.execute(_insert_anchors(model_id, _name(emotions), hits, best_first(hits), tuning.anchor_spacing_rows))
            if emotions is None:
                by_age = _all_files(model_id).subquery()
                order = (by_age.c.file_id.desc(),)
                connection.execute(_insert_anchors(model_id, NEWEST, by_age, order, tuning.anchor_spacing_rows))


def _insert_anchors(model_id: int, name: str, hits: FromClause, order: Sequence[ColumnElement[Any]], spacing: int) -> Insert:
    rank = func.row_number().over(order_by=order) - 1
    row = select(hits, rank.label("place")).subquery().c
    whose = literal(model_id).label("model_id"), literal(name).label("emotions")
    anchors = select(*whose, row.place, row.score, row.prediction_id, row.file_id).where(row.place % spacing == 0)
    return insert(PageAnchorRow.table).from_select(_FIELDS, anchors)


def _all_files(model_id: int) -> Select[*tuple[Any, ...]]:
    """Select the live files that a model has predictions of: every image has one of the whole or of a main face."""
    columns = (PredictionRow.id.label("prediction_id"), PredictionRow.score.label("score"), FileRow.id.label("file_id"))
    source = PredictionRow.table.join(FileRow.table, FileRow.image_id == PredictionRow.image_id)
    return select(*columns).select_from(source).where(PredictionRow.model_id == model_id, is_main(), is_live(), is_shown())


def hits_of_list(connection: Connection, model_id: int, name: str, image_ids: Sequence[int]) -> Select[*tuple[Any, ...]]:
    """Select prediction, score and file of each hit that some images have in an anchored list."""
    if name == NEWEST:
        return _all_files(model_id).where(PredictionRow.image_id.in_(image_ids))
    emotions = sorted(_known_emotions(connection, model_id, 0)) if not name else name.split("\n")
    own = and_(model_without_index_hint(model_id), PredictionRow.image_id.in_(image_ids))
    return ranked_rows(own, HitFilter(frozenset(emotions)), emotions)


def skip_to_anchor(
    connection: Connection, model_id: int, chosen: HitFilter, offset: int
) -> tuple[int, tuple[ColumnElement[bool], ...]]:
    """Return how many hits to skip after the last anchor up to an offset, and the conditions for hits after that anchor."""
    if not _is_anchored(chosen):
        return offset, ()
    anchor = connection.execute(_last_anchor(model_id, _name(chosen.emotions), PageAnchorRow.place <= offset)).first()
    if anchor is None:
        return offset, ()
    return offset - anchor.place, _from_anchor(anchor)


def skip_files_to_anchor(
    connection: Connection, model_id: int, chosen: HitFilter, offset: int
) -> tuple[int, tuple[ColumnElement[bool], ...]]:
    """Do the same in the list of files by age, which `chosen` must leave as it is."""
    if not offset or chosen != HitFilter():
        return offset, ()
    anchor = connection.execute(_last_anchor(model_id, NEWEST, PageAnchorRow.place <= offset)).first()
    return (offset, ()) if anchor is None else (offset - anchor.place, (FileRow.id <= anchor.file_id,))


def count_with_anchors(connection: Connection, model_id: int, chosen: HitFilter, emotions: Sequence[str]) -> int | None:
    """Count the hits of a filter from its last anchor on; None if it has none, and all would have to be counted.

    `emotions` are those that the filter leaves.
    """
    if not _is_anchored(chosen):
        return None
    own = PageAnchorRow.score >= chosen.min_score
    anchor = connection.execute(_last_anchor(model_id, _name(chosen.emotions), own)).first()
    if anchor is None:
        return None
    rest = ranked_query(model_id, chosen, emotions, *_from_anchor(anchor)).subquery()
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
    return chosen == HitFilter(chosen.emotions, chosen.min_score)


def _last_anchor(model_id: int, name: str, where: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    row = PageAnchorRow
    own = and_(row.model_id == model_id, row.emotions == name, where)
    return select(row.table).where(own).order_by(row.place.desc()).limit(1)


def _lists(connection: Connection, model_id: int, rows: int) -> set[frozenset[str]]:
    """Return the sets of emotions that searches for one emotion ask for, without most of those that have fewer than `rows` hits.

    Users may have thousands of emotions. An image has at most `MAX_FACES` predictions, so that few labels make a short list.
    """
    known = _known_emotions(connection, model_id, rows // MAX_FACES)
    return {frozenset({emotion}) for emotion in known} | {with_children(emotion) & known for emotion in known}


def _known_emotions(connection: Connection, model_id: int, more_than: int) -> set[str]:
    """Return the emotions of a model, and those that users gave to more than some number of images."""
    frequent = select(LabelRow.emotion).group_by(LabelRow.emotion).having(func.count() > more_than)
    with unpacking_from(connection):
        labels = connection.execute(select(ModelRow.labels).where(ModelRow.id == model_id)).scalar_one()
        return {*labels, *connection.execute(frequent).scalars()}


def _name(emotions: frozenset[str] | None) -> str:
    """Return the name of a list of some emotions, or of all."""
    return "\n".join(sorted(emotions or ()))
