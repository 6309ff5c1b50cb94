"""Page anchors: ranks in long lists of hits, so that a page far down is found without counting up to it.

A list is all live files, the latest entry first; or all of them, or those of an emotion, with or without its children, best
first. Triggers delete all anchors in the transaction that changes a list; they are built again at the end of a run, and moved by
labels (`db.sql.anchor_moves`). Without anchors, searches give the same results, but more slowly.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Insert, Row, Select, and_, false, func, insert, literal, or_, select, true

from db.schema import DIGEST_START_BYTES, FileRow, FolderRow, LabelRow, ModelRow, PageAnchorRow, PredictionRow
from db.sql.dialect import one_of
from db.sql.search_queries import is_live, is_main, is_shown, model_without_index_hint, ranked_rows, unordered_hits
from db.sql.unpacking import unpacking_from
from indexer.domain.emotions import with_children
from indexer.domain.images import MAX_FACES
from indexer.ports.store_reader import HitFilter

if TYPE_CHECKING:
    from db.sql.tuning import StoreTuning
    from indexer.domain.queries import HitKey

NEWEST = "\n"
"""The name of the list of all files by age, which no list of emotions has."""


def build_page_anchors(connection: Connection, model_id: int, tuning: StoreTuning) -> None:
    """Build the page anchors of a model's long lists that have none."""
    anchored = set(
        connection.execute(select(PageAnchorRow.emotions).where(PageAnchorRow.model_id == model_id).distinct()).scalars()
    )
    every = _known_emotions(connection, model_id, 0)
    spacing = _spacing(connection, model_id, tuning)
    for emotions in [None, *_lists(connection, model_id, tuning.anchored_list_rows)]:
        own = and_(PredictionRow.model_id == model_id, *([] if emotions is None else [one_of(PredictionRow.emotion, emotions)]))
        beyond = select(PredictionRow.id).where(own).offset(tuning.anchored_list_rows).limit(1)
        if _name(emotions) not in anchored and connection.execute(beyond).first() is not None:
            connection.execute(_insert_by_score(model_id, emotions, every, spacing))
            if emotions is None:
                connection.execute(_insert_by_age(model_id, spacing))


def _spacing(connection: Connection, model_id: int, tuning: StoreTuning) -> int:
    """Return the number of hits from one anchor to the next; no list is longer than the predictions of the model."""
    predictions = connection.execute(select(func.count()).where(PredictionRow.model_id == model_id)).scalar_one()
    return max(tuning.anchor_spacing_rows, -(-predictions // tuning.list_anchors))


def _insert_by_score(model_id: int, emotions: frozenset[str] | None, every: Collection[str], spacing: int) -> Insert:
    """Add the anchors of the list of some emotions, or of every one."""
    hits = unordered_hits(model_id, HitFilter(emotions), sorted(every if emotions is None else emotions)).c
    window: dict[str, Any] = {"order_by": (hits.score.desc(), hits.digest_start)}
    place, number = func.rank().over(**window) - 1, func.row_number().over(**window) - 1
    rows = select(place.label("place"), number.label("number"), hits.score, hits.digest_start).subquery().c
    images = select(*_list_columns(model_id, _name(emotions)), rows.place, rows.score, rows.digest_start)
    fields = ("model_id", "emotions", "place", "score", "digest_start")
    return insert(PageAnchorRow.table).from_select(fields, images.where(rows.number % spacing == 0).distinct())


def _insert_by_age(model_id: int, spacing: int) -> Insert:
    """Add the anchors of the list of all files by age."""
    files = _all_files(model_id).subquery().c
    place = func.row_number().over(order_by=files.file_id.desc()) - 1
    rows = select(files.file_id, place.label("place")).subquery().c
    anchors = select(*_list_columns(model_id, NEWEST), rows.place, rows.file_id).where(rows.place % spacing == 0)
    return insert(PageAnchorRow.table).from_select(("model_id", "emotions", "place", "file_id"), anchors)


def _list_columns(model_id: int, name: str) -> tuple[ColumnElement[int], ColumnElement[str]]:
    return literal(model_id).label("model_id"), literal(name).label("emotions")


def _all_files(model_id: int) -> Select[*tuple[Any, ...]]:
    """Select the live files that a model has predictions of: every image has one of the whole or of a main face."""
    source = PredictionRow.table.join(FileRow.table, FileRow.image_id == PredictionRow.image_id)
    files = select(FileRow.id.label("file_id")).select_from(source)
    return files.where(PredictionRow.model_id == model_id, is_main(), is_live(), is_shown())


def hits_of_list(connection: Connection, model_id: int, name: str, image_ids: Sequence[int]) -> Select[*tuple[Any, ...]]:
    """Select what orders each hit that some images have in an anchored list."""
    if name == NEWEST:
        return _all_files(model_id).where(PredictionRow.image_id.in_(image_ids))
    emotions = sorted(_known_emotions(connection, model_id, 0)) if not name else name.split("\n")
    own = and_(model_without_index_hint(model_id), PredictionRow.image_id.in_(image_ids))
    return ranked_rows(own, HitFilter(frozenset(emotions)), emotions)


def skip_to_anchor(
    connection: Connection, model_id: int, chosen: HitFilter, offset: int
) -> tuple[int, tuple[ColumnElement[bool], ...]]:
    """Return how many hits to skip after the last anchor up to an offset, and the conditions for hits after that anchor."""
    if not offset or not _is_anchored(chosen):
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
    rest = unordered_hits(model_id, chosen, emotions, *_from_anchor(anchor))
    return int(anchor.place) + connection.execute(select(func.count()).select_from(rest)).scalar_one()


def after_place(connection: Connection, key: HitKey) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for the hits after a place in a list. Files must be joined to their folders."""
    files = FileRow.table.join(FolderRow.table, FolderRow.id == FileRow.folder_id)
    path = select(FolderRow.path, FileRow.name).select_from(files).where(FileRow.id == key.file_id)
    place = connection.execute(path).first()
    later = false() if place is None else _later_path(place.path, place.name)
    return _beyond(key.score, key.digest[:DIGEST_START_BYTES], later)


def _from_anchor(anchor: Row[Any]) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for the hits from an anchor on."""
    return _beyond(anchor.score, anchor.digest_start, true())


def _later_path(folder: bytes, name: bytes) -> ColumnElement[bool]:
    return or_(FolderRow.path > folder, and_(FolderRow.path == folder, FileRow.name > name))


def _beyond(score: float, digest_start: bytes, files: ColumnElement[bool]) -> tuple[ColumnElement[bool], ...]:
    start = PredictionRow.digest_start
    later = or_(PredictionRow.score < score, start > digest_start, and_(start == digest_start, files))
    return PredictionRow.score <= score, later


def _is_anchored(chosen: HitFilter) -> bool:
    """Return whether a filter leaves a list as it is, or the beginning of it."""
    return chosen == HitFilter(chosen.emotions, chosen.min_score)


def _last_anchor(model_id: int, name: str, where: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    own = and_(PageAnchorRow.model_id == model_id, PageAnchorRow.emotions == name, where)
    return select(PageAnchorRow.table).where(own).order_by(PageAnchorRow.place.desc()).limit(1)


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
