"""What searches ask of the database, as parts of queries: which predictions, of which files, best first."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
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
    literal,
    or_,
    select,
    union_all,
)

from db.sqlite.file_rows import file_under
from db.sqlite.schema import FileRow, FolderRow, ImageRow, LabelRow, PredictionRow
from indexer.domain.files import FileState
from indexer.domain.images import MAIN_FACE

if TYPE_CHECKING:
    from indexer.ports.store_reader import HitFilter

SHORT_LIST_ROWS = 20_000
BEST_FIRST = (PredictionRow.score.desc(), PredictionRow.id, FileRow.id)


def model_without_index_hint(model_id: int | BindParameter[int]) -> ColumnElement[bool]:
    """Whether a prediction is a model's, where what else is asked says which pictures or predictions they are.

    "+ 0" leaves SQLite only the indexes by these: it would take the one by emotion, and read all of it.
    """
    return PredictionRow.model_id + 0 == model_id


def is_live() -> ColumnElement[bool]:
    """Whether a file is found by searches. The states stand in the SQL itself, for SQLite to see that the index of such fits."""
    states = [literal(state.value, literal_execute=True) for state in (FileState.DONE, FileState.PENDING)]
    return and_(FileRow.image_id.is_not(None), FileRow.state.in_(states))


def few_under(connection: Connection, under: bytes, most: int = SHORT_LIST_ROWS) -> bool:
    """Whether so few files lie under a folder that it is best to begin with them."""
    files = select(FileRow.id).select_from(FileRow.table).join(FolderRow.table, FolderRow.id == FileRow.folder_id)
    some = files.where(file_under(under)).limit(most + 1).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one() <= most


def is_main() -> ColumnElement[bool]:
    """Whether a prediction is of a picture as a whole or of its main face: every picture has one of the two.

    The number stands in the SQL itself, for SQLite to see that the index of just these rows fits.
    """
    return PredictionRow.region <= literal(MAIN_FACE, literal_execute=True)


def _is_best(chosen: HitFilter) -> ColumnElement[bool]:
    """Whether no other region of the picture answers better."""
    other = PredictionRow.table.alias()
    as_good = and_(other.c.score == PredictionRow.score, other.c.region < PredictionRow.region)
    wanted = () if chosen.emotions is None else (other.c.emotion.in_(sorted(chosen.emotions)),)
    return ~_exists_beside(other, *wanted, or_(other.c.score > PredictionRow.score, as_good))


def _without(excluded: frozenset[str]) -> ColumnElement[bool]:
    """Whether no region of the picture feels what is excluded."""
    other = PredictionRow.table.alias()
    return ~_exists_beside(other, other.c.emotion.in_(sorted(excluded)))


def _exists_beside(other: FromClause, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether the same model says such a thing of any region of the same picture."""
    # "+ 0": see by_picture.
    same = and_(other.c.image_id == PredictionRow.image_id, other.c.model_id + 0 == PredictionRow.model_id)
    return exists().where(same, *conditions)


def filter_conditions(chosen: HitFilter) -> Iterator[ColumnElement[bool]]:
    """A filter's folder and exclusions."""
    if chosen.under is not None:
        yield file_under(chosen.under)
    if chosen.excluded:
        yield _without(chosen.excluded)


def predictions_with_files() -> FromClause:
    """Predictions with the files of their pictures."""
    files = PredictionRow.table.join(FileRow.table, FileRow.image_id == PredictionRow.image_id)
    return files.join(FolderRow.table, FolderRow.id == FileRow.folder_id)


def ranked_rows(who: ColumnElement[bool], chosen: HitFilter, emotions: Sequence[str]) -> Select[*tuple[Any, ...]]:
    """The predictions of some emotions that a filter lets through, with the files they stand for; found in indexes alone, but for
    pictures with several faces.
    """
    columns = (PredictionRow.id.label("prediction_id"), PredictionRow.score.label("score"), FileRow.id.label("file_id"))
    # A whole picture is the best of its regions, being the only one.
    best = or_(PredictionRow.region == 0, _is_best(chosen))
    source = (
        predictions_with_files()
        if chosen.under is not None
        else PredictionRow.table.join(FileRow.table, FileRow.image_id == PredictionRow.image_id)
    )
    query = select(*columns).select_from(source).where(who, is_live(), best, *filter_conditions(chosen))
    own = PredictionRow.emotion == emotions[0] if len(emotions) == 1 else PredictionRow.emotion.in_(emotions)
    return query.where(own, PredictionRow.score >= chosen.min_score)


def ranked_query(
    model_id: int, chosen: HitFilter, emotions: Collection[str], *conditions: ColumnElement[bool]
) -> Select[*tuple[Any, ...]]:
    """The places of some emotions, best first: an ordered slice of the index for each, which SQLite merges as it reads them."""
    own = and_(PredictionRow.model_id == model_id, *conditions)
    best = union_all(*(ranked_rows(own, chosen, [emotion]) for emotion in sorted(emotions))).subquery()
    return select(best).order_by(*best_first(best))


def best_first(places: FromClause) -> tuple[ColumnElement[Any], ...]:
    """The order of places: by score, then the oldest prediction, then the oldest file."""
    return places.c.score.desc(), places.c.prediction_id, places.c.file_id


def hit_columns(places: FromClause | None = None) -> Select[*tuple[Any, ...]]:
    """Predictions with their pictures, labels and live files: of some places, or of all."""
    source = (
        PredictionRow.table if places is None else places.join(PredictionRow.table, PredictionRow.id == places.c.prediction_id)
    )
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
            ImageRow.digest.label("digest"),
            ImageRow.width.label("width"),
            ImageRow.height.label("height"),
            FolderRow.path.label("folder"),
            FileRow.name.label("name"),
        )
        .select_from(source)
        .join(ImageRow.table, ImageRow.id == PredictionRow.image_id)
        .outerjoin(LabelRow.table, LabelRow.image_id == PredictionRow.image_id)
        .join(FileRow.table, FileRow.image_id == PredictionRow.image_id)
        .join(FolderRow.table, FolderRow.id == FileRow.folder_id)
        .where(is_live())
    )
