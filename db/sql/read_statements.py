"""Statements of the reading half of a store that are not about searches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Label,
    ScalarSelect,
    Select,
    and_,
    bindparam,
    exists,
    func,
    literal,
    or_,
    select,
    union_all,
)

from db.schema import (
    EmbeddingRow,
    FileRow,
    FolderRow,
    GenerationRow,
    HiddenRow,
    ImageRow,
    LabelRow,
    Model,
    ModelRow,
    PredictionRow,
    RunModelRow,
    RunRow,
)
from db.sql.dialect import inline, no_index
from db.sql.file_rows import folder_under
from db.sql.path_list import PATH_LIST
from db.sql.prediction_rows import embedded
from db.sql.search_queries import hit_columns, is_live, is_main, model_without_index_hint
from indexer.domain.files import FileState
from indexer.domain.images import MAIN_FACE
from indexer.domain.predictions import GROUP_CHANGED

if TYPE_CHECKING:
    from indexer.ports.vectors import Generation

# These are executed by every search, and building a statement takes several times as long as executing it.
THESE = PredictionRow.id.in_(bindparam("ids", expanding=True))
VECTORS_OF = select(PredictionRow.id, EmbeddingRow.vector, ModelRow.embedding_size).select_from(embedded()).where(THESE)
REGIONS_OF = (
    select(PredictionRow.id, ImageRow.digest, PredictionRow.region)
    .join(ImageRow.table, ImageRow.id == PredictionRow.image_id)
    .where(THESE)
)
FINGERPRINTS_OF = (
    select(PredictionRow.id, EmbeddingRow.fingerprint)
    .join(ModelRow.table, ModelRow.id == PredictionRow.model_id)
    .join(
        EmbeddingRow.table,
        and_(
            EmbeddingRow.embedder_id == ModelRow.embedder_id,
            EmbeddingRow.image_id == PredictionRow.image_id,
            EmbeddingRow.region <= inline(MAIN_FACE),
            EmbeddingRow.fingerprint.is_not(None),
        ),
    )
    .where(THESE)
)
EMBEDDING_SIZE_OF = select(ModelRow.embedding_size).where(ModelRow.id == bindparam("model"))
MODELS = select(ModelRow.table, exists().where(PredictionRow.model_id == ModelRow.id).label("used")).order_by(ModelRow.id)
"""All models, with whether they have predictions as `used`."""
LABELS_OF = select(ModelRow.labels).where(ModelRow.id == bindparam("model"))
USER_EMOTIONS = select(LabelRow.emotion).distinct().order_by(LabelRow.emotion)
NEWEST_GENERATION = (
    select(GenerationRow.last_prediction_id, GenerationRow.token)
    .where(GenerationRow.model_id == bindparam("model"))
    .order_by(GenerationRow.last_prediction_id.desc(), GenerationRow.id.desc())
    .limit(1)
)


def compared_rows(*conditions: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """Select predictions with what a comparison needs, by id."""
    row = PredictionRow
    columns = (row.id, row.image_id, row.compared_to, row.probabilities, EmbeddingRow.vector)
    return select(*columns).select_from(embedded()).where(*conditions).order_by(row.id)


def uncompared(model_id: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Select a model's predictions that are new, or whose look-alikes changed."""
    return PredictionRow.model_id == model_id, PredictionRow.compared_to <= inline(GROUP_CHANGED)


# Executed for every batch of a comparison, with up to 500 ids at a time.
COMPARED_ROWS_OF = compared_rows(model_without_index_hint(bindparam("model")), THESE)


def count(table: type[Model], *conditions: ColumnElement[bool]) -> Select[int]:
    """Count the rows of a table that satisfy some conditions."""
    return select(func.count()).select_from(table.table).where(*conditions)


def count_in_state(state: FileState) -> Select[int]:
    """Count the files in a state. SQLite has an index of each state except `done`."""
    return count(FileRow, FileRow.state == inline(state.value))


def newest_runs(limit: int) -> Select[*tuple[Any, ...]]:
    """Select the newest runs."""
    return select(RunRow.table).order_by(RunRow.id.desc()).limit(limit)


def models_of_runs(run_ids: Sequence[int]) -> Select[int, str]:
    """Select the names of the models of some runs, in their order."""
    first = select(RunRow.id.label("run_id"), literal(0).label("position"), RunRow.model_id.label("model_id"))
    row = RunModelRow
    further = select(row.run_id.label("run_id"), row.id.label("position"), row.model_id.label("model_id"))
    some = union_all(first.where(RunRow.id.in_(run_ids)), further.where(row.run_id.in_(run_ids))).subquery()
    names = select(some.c.run_id, ModelRow.name).join(ModelRow.table, ModelRow.id == some.c.model_id)
    return names.order_by(some.c.run_id, some.c.position)


def run_totals() -> Select[*tuple[Any, ...]]:
    """Select, for each outcome, the number of runs and of files that they indexed and that failed."""
    indexed, failed = (func.sum(RunRow.counts[name].as_integer()) for name in ("indexed", "failed"))
    return select(RunRow.outcome, func.count(), func.coalesce(indexed, 0), func.coalesce(failed, 0)).group_by(RunRow.outcome)


def failed_files(limit: int, after: bytes | None = None) -> Select[*tuple[Any, ...]]:
    """Select failed files with their reasons, by folder and name; with `after`, those that follow this path."""
    folder, name = os.path.split(after or b"")
    follows = or_(FolderRow.path > folder, and_(FolderRow.path == folder, FileRow.name > name))
    return (
        select(FolderRow.path, FileRow.name, FileRow.failure_kind, FileRow.failure_reason)
        .join(FolderRow.table, FolderRow.id == FileRow.folder_id)
        .where(FileRow.state == FileState.FAILED, *([] if after is None else [follows]))
        .order_by(FolderRow.path, FileRow.name)
        .limit(limit)
    )


def count_main_regions(model_id: int) -> Select[int]:
    """Count the images of which a model has predictions."""
    return count(PredictionRow, *_main_regions(model_id))


def every_nth_main_region(model_id: int, step: int) -> Select[int]:
    """Select every `step`-th prediction of a whole image or main face, by id."""
    number: Label[int] = func.row_number().over(order_by=PredictionRow.id).label("number")
    numbered = select(PredictionRow.id, number).where(*_main_regions(model_id)).subquery()
    return select(numbered.c.id).where(numbered.c.number % step == 0)


def _main_regions(model_id: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return PredictionRow.model_id == model_id, is_main()


def region_ids(model_id: int) -> Select[int, bytes, int]:
    """Select id, digest of the image, and region of all predictions of a model, by id."""
    query = select(PredictionRow.id, ImageRow.digest, PredictionRow.region).join(
        ImageRow.table, ImageRow.id == PredictionRow.image_id
    )
    return query.where(model_without_index_hint(model_id)).order_by(PredictionRow.id)


def samples(ids: Sequence[int]) -> Select[*tuple[Any, ...]]:
    """Select the embeddings and probabilities of some predictions, by id."""
    query = select(PredictionRow.id, EmbeddingRow.vector, PredictionRow.probabilities).select_from(embedded())
    return query.where(PredictionRow.id.in_(ids)).order_by(PredictionRow.id)


def main_region_of_digest(model_id: int, digest_prefix: str) -> Select[int]:
    """Select up to two predictions, of whole images or main faces, whose image's hex digest starts with a prefix."""
    return (
        select(PredictionRow.id)
        .join(ImageRow.table, ImageRow.id == PredictionRow.image_id)
        .where(model_without_index_hint(model_id), is_main(), _digest_begins_with(digest_prefix))
        .limit(2)
    )


def digests_with_prefix(digest_prefix: str) -> Select[bytes]:
    """Select up to two digests of images that start, in hex, with a prefix."""
    return select(ImageRow.digest).where(_digest_begins_with(digest_prefix)).limit(2)


def _digest_begins_with(digest_prefix: str) -> ColumnElement[bool]:
    low = bytes.fromhex(digest_prefix + "0" * (len(digest_prefix) % 2))
    high = bytes.fromhex(digest_prefix + "f" * (len(digest_prefix) % 2)).ljust(32, b"\xff")
    return and_(ImageRow.digest >= low, ImageRow.digest <= high)


def hits_at(model_id: int, path: bytes) -> Select[*tuple[Any, ...]]:
    """Select the hits of one path, by region."""
    here = and_(FolderRow.path == os.path.dirname(path), FileRow.name == os.path.basename(path))
    return hit_columns().where(model_without_index_hint(model_id), here).order_by(PredictionRow.region)


def live_files_by_folder() -> Select[bytes, int]:
    """Count the live files directly in each folder."""
    live = select(FileRow.folder_id, func.count().label("files")).where(is_live()).group_by(FileRow.folder_id).subquery()
    return select(FolderRow.path, live.c.files).select_from(live.join(FolderRow.table, FolderRow.id == live.c.folder_id))


def live_files_of_image(digest: bytes) -> Select[*tuple[Any, ...]]:
    """Select the live files of an image, by path."""
    files = FileRow.table.join(FolderRow.table, FolderRow.id == no_index(FileRow.folder_id))
    return _live_files(files).where(ImageRow.digest == digest).order_by(FolderRow.path, FileRow.name)


def live_files_in_list() -> Select[*tuple[Any, ...]]:
    """Select the live files in `PATH_LIST` with their images' digests.

    `no_index` keeps SQLite from reading all files and looking up the folder of each.
    """
    here = and_(FileRow.folder_id == no_index(FolderRow.id), FileRow.name == PATH_LIST.c.name)
    folders = PATH_LIST.join(FolderRow.table, FolderRow.path == PATH_LIST.c.folder)
    return _live_files(folders.join(FileRow.table, here))


def folders_in_list() -> Select[bytes]:
    """Select the paths in `PATH_LIST` at or below which the store knows a folder."""
    listed = PATH_LIST.c
    itself = exists().where(FolderRow.path == listed.path)
    below = exists().where(FolderRow.path > listed.first, FolderRow.path < listed.last)
    return select(listed.path).where(or_(itself, below))


def live_files_below(folder: bytes) -> Select[*tuple[Any, ...]]:
    """Select the live files below a folder with their images' digests, by path."""
    files = FolderRow.table.join(FileRow.table, FileRow.folder_id == FolderRow.id)
    return _live_files(files).where(folder_under(folder)).order_by(FolderRow.path, FileRow.name)


def _live_files(source: FromClause) -> Select[*tuple[Any, ...]]:
    columns = (FolderRow.path, FileRow.name, FileRow.size, FileRow.mtime_ns, FileRow.change, FileRow.state, ImageRow.digest)
    images = source.join(ImageRow.table, ImageRow.id == FileRow.image_id)
    return select(*columns).select_from(images).where(is_live())


def indexed_files(*conditions: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """Select the files that are done and satisfy some conditions, with their images' digests, oldest first."""
    return (
        select(FileRow.id, FolderRow.path, FileRow.name, FileRow.size, FileRow.mtime_ns, FileRow.change, ImageRow.digest)
        .select_from(FileRow.table)
        .join(FolderRow.table, FolderRow.id == no_index(FileRow.folder_id))
        .join(ImageRow.table, ImageRow.id == no_index(FileRow.image_id))
        .where(FileRow.state == FileState.DONE, *conditions)
        .order_by(FileRow.id)
    )


def any_live_file_below(folder: bytes) -> Select[int]:
    """Select one live file below a folder."""
    files = FileRow.table.join(FolderRow.table, FolderRow.id == FileRow.folder_id)
    return select(FileRow.id).select_from(files).where(is_live(), folder_under(folder)).limit(1)


def hidden_digests(digests: Sequence[bytes]) -> Select[bytes]:
    """Select those of some digests whose images are hidden."""
    images = select(ImageRow.digest).join(HiddenRow.table, HiddenRow.image_id == ImageRow.id)
    return images.where(ImageRow.digest.in_(digests))


def known_digests(digests: Sequence[bytes]) -> Select[bytes]:
    """Select those digests whose images the store knows."""
    return select(ImageRow.digest).where(ImageRow.digest.in_(digests))


def labels_of(digests: Sequence[bytes]) -> Select[bytes, str]:
    """Select the labels of some images."""
    labels = LabelRow.table.join(ImageRow.table, ImageRow.id == LabelRow.image_id)
    return select(ImageRow.digest, LabelRow.emotion).select_from(labels).where(ImageRow.digest.in_(digests))


def labels_with_oldest_file() -> Select[*tuple[Any, ...]]:
    """Select all labels, each with the oldest live file of its image, by path; labels without a file last.

    Those have the path of a missing file, or the last path of their image.
    """
    file, folder = FileRow.table.alias(), FolderRow.table.alias()
    lost, lost_folder = FileRow.table.alias(), FolderRow.table.alias()
    return (
        select(
            ImageRow.digest,
            LabelRow.emotion,
            folder.c.path,
            file.c.name,
            LabelRow.last_path,
            lost_folder.c.path.label("lost_folder"),
            lost.c.name.label("lost_name"),
        )
        .select_from(LabelRow.table)
        # Every label has an image; an inner join would let SQLite go through all images.
        .outerjoin(ImageRow.table, ImageRow.id == LabelRow.image_id)
        .outerjoin(file, file.c.id == _oldest_file(is_live()))
        .outerjoin(folder, folder.c.id == file.c.folder_id)
        .outerjoin(lost, lost.c.id == _oldest_file(FileRow.state == FileState.GONE))
        .outerjoin(lost_folder, lost_folder.c.id == lost.c.folder_id)
        .order_by(folder.c.path.is_(None), folder.c.path, file.c.name, ImageRow.digest)
    )


def _oldest_file(condition: ColumnElement[bool]) -> ScalarSelect[int]:
    """Select the oldest file of a label's image. Few images have labels: the files of all others are not read."""
    own = select(func.min(FileRow.id)).where(FileRow.image_id == LabelRow.image_id, condition)
    return own.correlate(LabelRow.table).scalar_subquery()


def same_generation(model_id: int, generation: Generation) -> Select[int]:
    """Select a generation of a model by its last id and token."""
    row = GenerationRow
    own = (row.model_id == model_id, row.last_prediction_id == generation.last_id, row.token == generation.token)
    return select(row.id).where(*own)
