"""Deletion of files missing beyond the grace period, then of images without files, labels and marks."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, Select, delete, exists, select

from db.schema import EmbeddingRow, FileRow, FolderRow, HiddenRow, ImageRow, LabelRow, PredictionRow
from db.sql.dialect import chunks, inline
from db.sql.label_moves import paths_of_labeled, remember_paths
from db.sql.prediction_rows import renew_generation_token
from db.sql.tag_rows import forget_tags
from db.sql.transactions import connect_for_writing
from indexer.domain.files import FileState


def expire(engine: Engine, before: float, chunk_rows: int) -> int:
    """Forget files missing since before a time, see `indexer.ports.store_writer.StoreWriter.expire`; return their number.

    A transaction deletes at most `chunk_rows` files and as many images.
    """
    expired = images = 0
    while True:
        with connect_for_writing(engine) as connection:
            files = _forget_files(connection, before, chunk_rows)
            expired += files
            if expired and files < chunk_rows:
                # In the transaction of the last files: a kill between two transactions would leave the images until more files
                # expire.
                images = _forget_images(connection, chunk_rows)
        if files < chunk_rows:
            break
    while images == chunk_rows:
        with connect_for_writing(engine) as connection:
            images = _forget_images(connection, chunk_rows)
    return expired


def _forget_files(connection: Connection, before: float, limit: int) -> int:
    missing = FileRow.state == inline(FileState.GONE.value)
    query = select(FileRow.id, FileRow.folder_id).where(missing, FileRow.gone_at < before).limit(limit)
    rows = connection.execute(query).all()
    for chunk in chunks([row.id for row in rows]):
        remember_paths(connection, paths_of_labeled(connection, chunk))
        connection.execute(delete(FileRow.table).where(FileRow.id.in_(chunk)))
    has_files = exists().where(FileRow.folder_id == FolderRow.id)
    for chunk in chunks(sorted({row.folder_id for row in rows})):
        connection.execute(delete(FolderRow.table).where(FolderRow.id.in_(chunk), ~has_files))
    return len(rows)


def _forget_images(connection: Connection, limit: int) -> int:
    images = connection.execute(_unused_images(limit)).scalars().all()
    models: set[int] = set()
    for chunk in chunks(images):
        predicted = PredictionRow.image_id.in_(chunk)
        models.update(connection.execute(select(PredictionRow.model_id).where(predicted).distinct()).scalars())
        connection.execute(delete(PredictionRow.table).where(predicted))
        connection.execute(delete(EmbeddingRow.table).where(EmbeddingRow.image_id.in_(chunk)))
        forget_tags(connection, chunk)
        connection.execute(delete(ImageRow.table).where(ImageRow.id.in_(chunk)))
    for model_id in sorted(models):
        renew_generation_token(connection, model_id)
    return len(images)


def _unused_images(limit: int) -> Select[int]:
    has_files = exists().where(FileRow.image_id == ImageRow.id)
    has_label = exists().where(LabelRow.image_id == ImageRow.id)
    is_hidden = exists().where(HiddenRow.image_id == ImageRow.id)
    return select(ImageRow.id).where(~has_files, ~has_label, ~is_hidden).limit(limit)
