"""Parts of search queries: which predictions, of which files, in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    exists,
    func,
    or_,
    select,
    union_all,
)

from db.schema import FileRow, FolderRow, HiddenRow, ImageRow, LabelRow, PredictionRow
from db.sql.dialect import inline, no_index, one_of
from db.sql.file_rows import file_under
from db.sql.path_list import file_ids_in_list, listed_paths
from db.sql.tag_rows import has_tag
from indexer.domain.files import FileState
from indexer.domain.images import MAIN_FACE

if TYPE_CHECKING:
    from indexer.ports.store_reader import HitFilter

SHORT_LIST_ROWS = 20_000
_MAX_MERGED_EMOTIONS = 100
"""SQLite merges at most 500 SELECTs."""
_MAX_NAMED_PATHS = 50
"""Up to so many paths, a query names each, for which SQLite plans best."""
_ORDERING = (PredictionRow.score.label("score"), PredictionRow.digest_start.label("digest_start"))
# Made once: an alias copies all columns, which takes longer than the query.
_BETTER, _EXCLUDED, _BY_OTHER = (PredictionRow.table.alias(name) for name in ("better", "excluded", "by_other"))
BEST_FIRST = (PredictionRow.score.desc(), PredictionRow.digest_start, FolderRow.path, FileRow.name)
"""The order of hits: by score, then by digest of the image, then by path of the file."""


def model_without_index_hint(model_id: int | BindParameter[int]) -> ColumnElement[bool]:
    """Select a model's predictions where other conditions name few images or predictions.

    Without `no_index`, SQLite would take the index by emotion and read all of the model's entries.
    """
    return no_index(PredictionRow.model_id) == model_id


def is_live() -> ColumnElement[bool]:
    """Select the files that searches find: those with an image that are done or pending."""
    return and_(FileRow.image_id.is_not(None), FileRow.state.in_([inline(FileState.DONE.value), inline(FileState.PENDING.value)]))


def is_shown() -> ColumnElement[bool]:
    """Select the predictions of images that the user did not hide."""
    return ~exists().where(HiddenRow.image_id == PredictionRow.image_id)


def is_main() -> ColumnElement[bool]:
    """Select predictions of whole images and of main faces: every image has one of the two."""
    return PredictionRow.region <= inline(MAIN_FACE)


def few_under(connection: Connection, under: Sequence[bytes], most: int = SHORT_LIST_ROWS) -> bool:
    """Return whether so few files are below some folders that a search should begin with them."""
    return connection.execute(files_under(under, most)).scalar_one() <= most


@contextmanager
def listed_if_many(connection: Connection, under: Sequence[bytes]) -> Iterator[None]:
    """Prepare a connection for queries for the files at or below some paths, of which there may be any number."""
    with listed_paths(connection, under) if len(under) > _MAX_NAMED_PATHS else nullcontext():
        yield


def file_under_any(under: Sequence[bytes]) -> ColumnElement[bool]:
    """Select the files at or below any of some paths, see `listed_if_many`. Files must be joined to their folders."""
    if len(under) > _MAX_NAMED_PATHS:
        return FileRow.id.in_(file_ids_in_list())
    return or_(*(file_under(path) for path in under))


def files_under(under: Sequence[bytes], most: int) -> Select[int]:
    """Count the files at or below some paths, up to `most` + 1."""
    files = select(FileRow.id).select_from(FileRow.table).join(FolderRow.table, FolderRow.id == FileRow.folder_id)
    some = files.where(file_under_any(under)).limit(most + 1).subquery()
    return select(func.count()).select_from(some)


def _is_best(chosen: HitFilter) -> ColumnElement[bool]:
    """Select a region if no other region of its image with a wanted emotion scores higher; of equals, the first."""
    other = _BETTER
    as_good = and_(other.c.score == PredictionRow.score, other.c.region < PredictionRow.region)
    wanted = () if chosen.emotions is None else (one_of(other.c.emotion, chosen.emotions),)
    return ~_has_region(other, *wanted, or_(other.c.score > PredictionRow.score, as_good))


def _without(excluded: frozenset[str]) -> ColumnElement[bool]:
    """Select images of which no region has an excluded emotion."""
    return ~_has_region(_EXCLUDED, one_of(_EXCLUDED.c.emotion, excluded))


def _has_region(other: FromClause, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Select predictions whose image has a region, by the same model, with some conditions."""
    same = and_(other.c.image_id == PredictionRow.image_id, no_index(other.c.model_id) == PredictionRow.model_id)
    return exists().where(same, *conditions)


def filter_conditions(chosen: HitFilter) -> Iterator[ColumnElement[bool]]:
    """Yield the conditions of a filter's folders, hidden images, excluded emotions, other model and tags."""
    if chosen.under:
        yield file_under_any(chosen.under)
    if not chosen.hidden:
        yield is_shown()
    if chosen.excluded:
        yield _without(chosen.excluded)
    if chosen.also_by is not None:
        other = _BY_OTHER
        yield exists().where(other.c.image_id == PredictionRow.image_id, no_index(other.c.model_id) == chosen.also_by)
    yield from (has_tag(tag, chosen.also_by) for tag in sorted(chosen.tags))
    yield from (~has_tag(tag, chosen.also_by) for tag in sorted(chosen.excluded_tags))


def predictions_with_files() -> FromClause:
    """Join predictions with the files of their images and the folders of those."""
    files = PredictionRow.table.join(FileRow.table, FileRow.image_id == PredictionRow.image_id)
    return files.join(FolderRow.table, FolderRow.id == FileRow.folder_id)


def ranked_rows(who: ColumnElement[bool], chosen: HitFilter, emotions: Sequence[str]) -> Select[*tuple[Any, ...]]:
    """Select prediction, score, start of the digest, and file of each hit of some emotions.

    They are found in indexes alone, except for images with several faces.
    """
    columns = (PredictionRow.id.label("prediction_id"), *_ORDERING, FileRow.id.label("file_id"))
    # A whole image is the only region of its image.
    best = or_(PredictionRow.region == 0, _is_best(chosen))
    source = (
        predictions_with_files()
        if chosen.under
        else PredictionRow.table.join(FileRow.table, FileRow.image_id == PredictionRow.image_id)
    )
    query = select(*columns).select_from(source).where(who, is_live(), best, *filter_conditions(chosen))
    own = PredictionRow.emotion == emotions[0] if len(emotions) == 1 else one_of(PredictionRow.emotion, emotions)
    return query.where(own, PredictionRow.score >= chosen.min_score)


def placed_rows(who: ColumnElement[bool], chosen: HitFilter, emotions: Sequence[str]) -> Select[*tuple[Any, ...]]:
    """Select what `ranked_rows` selects, with folder and name of each file, which order the files of an image.

    `no_index` keeps SQLite from beginning with the folders.
    """
    rows = ranked_rows(who, chosen, emotions).add_columns(FolderRow.path.label("folder"), FileRow.name.label("name"))
    return rows if chosen.under else rows.join(FolderRow.table, FolderRow.id == no_index(FileRow.folder_id))


def ranked_query(
    dialect: str, model_id: int, chosen: HitFilter, emotions: Sequence[str], most: int, *conditions: ColumnElement[bool]
) -> Select[*tuple[Any, ...]]:
    """Select the hits of some emotions, best first, of which the caller reads at most `most`: an ordered index range per emotion.

    SQLite merges the ranges while it reads them. PostgreSQL would read and sort all of them, so that each ends after `most` hits.

    `emotions` are in the order of the model's labels, followed by those of users, of which there may be any number: beyond the
    first ones, all of their hits are sorted.
    """

    def best_rows(*criteria: Any) -> Select[*tuple[Any, ...]]:
        return placed_rows(*criteria).order_by(*BEST_FIRST).limit(most)

    best = _all_hits(best_rows if dialect == "postgresql" else placed_rows, model_id, chosen, emotions, *conditions)
    return select(best).order_by(best.c.score.desc(), best.c.digest_start, best.c.folder, best.c.name)


def unordered_hits(model_id: int, chosen: HitFilter, emotions: Sequence[str], *conditions: ColumnElement[bool]) -> FromClause:
    """Select the hits of some emotions, in any order, see `ranked_rows`."""
    return _all_hits(ranked_rows, model_id, chosen, emotions, *conditions)


def count_hits(model_id: int, chosen: HitFilter, emotions: Sequence[str], most: int | None, few: bool) -> Select[int]:
    """Count the hits of some emotions, up to `most` + 1. With `few`, see `few_under`, it begins with the files in the folders."""
    hits = (
        ranked_rows(model_without_index_hint(model_id), chosen, emotions).subquery()
        if few
        else unordered_hits(model_id, chosen, emotions)
    )
    found = select(hits.c.file_id).limit(None if most is None else most + 1).subquery()
    return select(func.count()).select_from(found)


def emotions_of_files(model_id: int, chosen: HitFilter) -> Select[int, str]:
    """Select the emotions of each file that passes a filter."""
    rows = select(FileRow.id, PredictionRow.emotion).distinct().select_from(predictions_with_files())
    own = (
        (model_without_index_hint(model_id),)
        if chosen.emotions is None
        else (PredictionRow.model_id == model_id, one_of(PredictionRow.emotion, chosen.emotions))
    )
    return rows.where(*own, is_live(), PredictionRow.score >= chosen.min_score, *filter_conditions(chosen))


def _all_hits(
    rows: Callable[[ColumnElement[bool], HitFilter, Sequence[str]], Select[*tuple[Any, ...]]],
    model_id: int,
    chosen: HitFilter,
    emotions: Sequence[str],
    *conditions: ColumnElement[bool],
) -> FromClause:
    own = and_(PredictionRow.model_id == model_id, *conditions)
    ranges = [[emotion] for emotion in emotions[:_MAX_MERGED_EMOTIONS]]
    others = emotions[_MAX_MERGED_EMOTIONS:]
    return union_all(*(rows(own, chosen, some) for some in ([*ranges, others] if others else ranges))).subquery()


def hit_columns(hits: FromClause | None = None) -> Select[*tuple[Any, ...]]:
    """Select what a hit shows: prediction, image, label and live file; of the given hits, or of all predictions."""
    source = PredictionRow.table if hits is None else hits.join(PredictionRow.table, PredictionRow.id == hits.c.prediction_id)
    return (
        select(
            PredictionRow.id.label("prediction_id"),
            PredictionRow.emotion.label("emotion"),
            PredictionRow.score.label("score"),
            PredictionRow.probabilities.label("probabilities"),
            LabelRow.emotion.label("label"),
            PredictionRow.left.label("left"),
            PredictionRow.top.label("top"),
            PredictionRow.right.label("right"),
            PredictionRow.bottom.label("bottom"),
            PredictionRow.frame.label("frame"),
            ImageRow.digest.label("digest"),
            ImageRow.width.label("width"),
            ImageRow.height.label("height"),
            ImageRow.incomplete.label("incomplete"),
            FolderRow.path.label("folder"),
            FileRow.name.label("name"),
            FileRow.id.label("file_id"),
        )
        .select_from(source)
        .join(ImageRow.table, ImageRow.id == PredictionRow.image_id)
        .outerjoin(LabelRow.table, LabelRow.image_id == PredictionRow.image_id)
        .join(FileRow.table, FileRow.image_id == PredictionRow.image_id)
        .join(FolderRow.table, FolderRow.id == FileRow.folder_id)
        .where(is_live())
    )
