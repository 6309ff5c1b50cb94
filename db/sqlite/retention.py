"""Forgetting what has been gone for long: files first, then the pictures that nothing holds any more."""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, Engine, delete, exists, func, insert, literal, select

from db.sqlite.prediction_rows import chunks
from db.sqlite.schema import EmbeddingRow, FileRow, FolderRow, GenerationRow, ImageRow, LabelRow, PredictionRow
from indexer.domain.files import FileState

_DELETE_CHUNK_ROWS = 20_000
"""Files or pictures a transaction: with their embeddings some 50 MB of write-ahead log."""


def expire(engine: Engine, before: float) -> int:
    """As `indexer.ports.store_writer.StoreWriter.expire`."""
    expired = pictures = 0
    while True:
        with engine.begin() as connection:
            files = _forget_files(connection, before)
            expired += files
            if expired and files < _DELETE_CHUNK_ROWS:
                # In the same transaction: who is killed after it would not look for pictures again until more files expire.
                pictures = _forget_pictures(connection)
        if files < _DELETE_CHUNK_ROWS:
            break
    while pictures == _DELETE_CHUNK_ROWS:
        with engine.begin() as connection:
            pictures = _forget_pictures(connection)
    return expired


def _forget_files(connection: Connection, before: float) -> int:
    # The state stands in the SQL itself, for SQLite to see that the index of such files fits.
    gone = FileRow.state == literal(FileState.GONE.value, literal_execute=True)
    rows = connection.execute(
        select(FileRow.id, FileRow.folder_id).where(gone, FileRow.gone_at < before).limit(_DELETE_CHUNK_ROWS)
    ).all()
    for chunk in chunks([row.id for row in rows]):
        connection.execute(delete(FileRow.table).where(FileRow.id.in_(chunk)))
    holds = exists().where(FileRow.folder_id == FolderRow.id)
    for chunk in chunks(sorted({row.folder_id for row in rows})):
        connection.execute(delete(FolderRow.table).where(FolderRow.id.in_(chunk), ~holds))
    return len(rows)


def _forget_pictures(connection: Connection) -> int:
    filed = exists().where(FileRow.image_id == ImageRow.id)
    labelled = exists().where(LabelRow.image_id == ImageRow.id)
    images = connection.execute(select(ImageRow.id).where(~filed, ~labelled).limit(_DELETE_CHUNK_ROWS)).scalars().all()
    models: set[int] = set()
    for chunk in chunks(images):
        said = PredictionRow.image_id.in_(chunk)
        models.update(connection.execute(select(PredictionRow.model_id).where(said).distinct()).scalars())
        connection.execute(delete(PredictionRow.table).where(said))
        connection.execute(delete(EmbeddingRow.table).where(EmbeddingRow.image_id.in_(chunk)))
        connection.execute(delete(ImageRow.table).where(ImageRow.id.in_(chunk)))
    for model_id in sorted(models):
        _renew_generation_token(connection, model_id)
    return len(images)


def _renew_generation_token(connection: Connection, model_id: int) -> None:
    """A new token for a model that has lost predictions, so that its index is looked over. The last id stays: none came."""
    last = select(func.max(GenerationRow.last_prediction_id)).where(GenerationRow.model_id == model_id)
    generation = {"model_id": model_id, "last_prediction_id": connection.execute(last).scalar(), "token": secrets.token_hex(16)}
    if generation["last_prediction_id"] is not None:
        connection.execute(insert(GenerationRow.table), [generation])
