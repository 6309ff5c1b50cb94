"""The half of the SQLite store that indexing writes: scans, pending work, batches, moves."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Engine,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from db.sqlite.engine import connect_for_reading
from db.sqlite.file_rows import detect_moves, file_under, finish_files, folder_under, record_files
from db.sqlite.model_rows import card_to_row
from db.sqlite.page_anchors import build_page_anchors
from db.sqlite.prediction_rows import chunks, embedded, rescore, rewrite_predictions, write_predictions
from db.sqlite.retention import expire
from db.sqlite.schema import (
    EmbedderRow,
    EmbeddingRow,
    FaceDetectorRow,
    FileRow,
    FolderRow,
    GenerationRow,
    ImageRow,
    LabelRow,
    ModelRow,
    PredictionRow,
    RunRow,
)
from indexer.domain.files import Failure, FileStamp, FileState
from indexer.domain.runs import DIED, RUNNING, WHY_IT_DIED
from indexer.ports.store_writer import CommitBatch, FolderScanResult, KnownFile, PendingFile

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.ports.store_writer import Score

_DELETE_CHUNK_ROWS = 20_000
"""Predictions a transaction: with their embeddings some 50 MB of write-ahead log."""


class SqliteWriter:
    """Implements `indexer.ports.store_writer.StoreWriter`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def register_model(self, card: ModelCard) -> int:
        with self._engine.begin() as connection:
            # A model that was stored before its backbone was known has an embedder of its own: now that gets its true name.
            own = select(ModelRow.embedder_id).where(ModelRow.key == card.key)
            named = select(EmbedderRow.id).where(EmbedderRow.key == card.embedder_key)
            nameless = update(EmbedderRow.table).where(EmbedderRow.id.in_(own), EmbedderRow.key == card.key, ~named.exists())
            connection.execute(nameless.values(key=card.embedder_key))
            connection.execute(upsert(EmbedderRow.table).values(key=card.embedder_key).on_conflict_do_nothing())
            embedder = select(EmbedderRow.id).where(EmbedderRow.key == card.embedder_key).scalar_subquery()
            connection.execute(
                upsert(ModelRow.table)
                .values(**card_to_row(card), embedder_id=embedder)
                .on_conflict_do_update(index_elements=["key"], set_={"name": card.name})
            )
            return connection.execute(select(ModelRow.id).where(ModelRow.key == card.key)).scalar_one()

    def begin_run(self, roots: Sequence[bytes], model_id: int, detector: str | None = None) -> int:
        with self._engine.begin() as connection:
            died = update(RunRow.table).where(RunRow.outcome == RUNNING)
            connection.execute(died.values(outcome=DIED, reason=WHY_IT_DIED))
            if detector is not None:
                connection.execute(upsert(FaceDetectorRow.table).values(key=detector).on_conflict_do_nothing())
            run = insert(RunRow.table).values(
                started_at=time.time(),
                roots=[os.fsdecode(root) for root in roots],
                model_id=model_id,
                finder_id=select(FaceDetectorRow.id).where(FaceDetectorRow.key == detector).scalar_subquery(),
                pid=os.getpid(),
                outcome=RUNNING,
                counts={},
            )
            return connection.execute(run.returning(RunRow.id)).scalar_one()

    def finish_run(self, run_id: int, outcome: str, counts: Mapping[str, int], reason: str | None = None) -> None:
        with self._engine.begin() as connection:
            done = update(RunRow.table).where(RunRow.id == run_id)
            ended = func.max(RunRow.started_at, time.time())  # the clock may have been set back
            connection.execute(done.values(ended_at=ended, outcome=outcome, counts=dict(counts), reason=reason))
            build_page_anchors(connection, _model_of(connection, run_id))

    def forget_run(self, run_id: int) -> None:
        with self._engine.begin() as connection:
            build_page_anchors(connection, _model_of(connection, run_id))
            connection.execute(delete(RunRow.table).where(RunRow.id == run_id))

    def known_files(self, folder: bytes, run_id: int) -> dict[bytes, KnownFile]:
        predicted = exists().where(PredictionRow.image_id == FileRow.image_id, _as_in(run_id))
        query = (
            select(
                FileRow.name,
                FileRow.id,
                FileRow.size,
                FileRow.mtime_ns,
                FileRow.state,
                FileRow.failure_kind,
                FileRow.failure_reason,
                predicted,
            )
            .join(FolderRow.table, FolderRow.id == FileRow.folder_id)
            .where(FolderRow.path == folder)
        )
        with connect_for_reading(self._engine) as connection:
            return {
                name: KnownFile(
                    file_id, FileStamp(size, mtime), FileState(state), Failure(kind, why or "") if kind else None, has
                )
                for name, file_id, size, mtime, state, kind, why, has in connection.execute(query)
            }

    def known_folders(self, root: bytes) -> list[bytes]:
        with connect_for_reading(self._engine) as connection:
            return list(connection.execute(select(FolderRow.path).where(folder_under(root))).scalars())

    def unchanged_folder_digests(self, root: bytes, run_id: int) -> dict[bytes, bytes]:
        same_look = and_(
            FolderRow.listed_model_id == RunRow.model_id, FolderRow.listed_finder_id.is_not_distinct_from(RunRow.finder_id)
        )
        unsettled = select(FileRow.folder_id).where(FileRow.state.in_((FileState.PENDING, FileState.FAILED)))
        query = (
            select(FolderRow.path, FolderRow.listing)
            .join(RunRow.table, and_(RunRow.id == run_id, same_look))
            .where(folder_under(root), FolderRow.listing.is_not(None), FolderRow.id.not_in(unsettled))
        )
        with connect_for_reading(self._engine) as connection:
            return {path: listing for path, listing in connection.execute(query) if listing is not None}

    def count_files(self, root: bytes) -> int:
        query = (
            select(func.count())
            .select_from(FileRow.table)
            .join(FolderRow.table)
            .where(file_under(root), FileRow.state != FileState.GONE)
        )
        with connect_for_reading(self._engine) as connection:
            return connection.execute(query).scalar_one()

    def record_scan(self, run_id: int, notes: Sequence[FolderScanResult]) -> None:
        if notes:
            with self._engine.begin() as connection:
                record_files(connection, run_id, notes)

    def count_pending(self, roots: Sequence[bytes]) -> int:
        query = select(func.count()).select_from(FileRow.table).join(FolderRow.table).where(_waiting(roots))
        with connect_for_reading(self._engine) as connection:
            return connection.execute(query).scalar_one()

    def pending(self, roots: Sequence[bytes], after: int, limit: int) -> list[PendingFile]:
        query = (
            select(FileRow.id, FolderRow.path, FileRow.name, FileRow.size, FileRow.mtime_ns)
            .join(FolderRow.table, FolderRow.id == FileRow.folder_id)
            .where(_waiting(roots), FileRow.id > after)
            .order_by(FileRow.id)
            .limit(limit)
        )
        with connect_for_reading(self._engine) as connection:
            return [
                PendingFile(file_id, os.path.join(folder, name), FileStamp(size, mtime))
                for file_id, folder, name, size, mtime in connection.execute(query)
            ]

    def has_prediction(self, digest: bytes, run_id: int) -> bool:
        with connect_for_reading(self._engine) as connection:
            return connection.execute(_IS_PREDICTED, {"digest": digest, "run": run_id}).first() is not None

    def commit(self, run_id: int, batch: CommitBatch) -> None:
        with self._engine.begin() as connection:
            images = _image_ids(connection, batch)
            if batch.predicted:
                write_predictions(connection, run_id, images, batch.predicted)
            done = [(file, images[entry.image.digest]) for entry in batch.predicted for file in entry.files]
            done += [(file, images[digest]) for file, digest in batch.linked]
            finish_files(connection, done, batch.failed)

    def detect_moves(self, run_id: int, missing: Sequence[int]) -> list[int]:
        with self._engine.begin() as connection:
            return detect_moves(connection, run_id, missing)

    def mark_missing(self, file_ids: Sequence[int]) -> None:
        with self._engine.begin() as connection:
            for chunk in chunks(file_ids):
                gone = update(FileRow.table).where(FileRow.id.in_(chunk))
                connection.execute(gone.values(state=FileState.GONE, failure_kind=None, failure_reason=None, gone_at=time.time()))

    def expire(self, before: float) -> int:
        return expire(self._engine, before)

    def label(self, emotions: Mapping[bytes, str | None]) -> None:
        now = time.time()
        with self._engine.begin() as connection:
            for chunk in chunks(sorted(emotions)):
                known = connection.execute(select(ImageRow.id, ImageRow.digest).where(ImageRow.digest.in_(chunk))).all()
                given = {image_id: emotions[digest] for image_id, digest in known}
                connection.execute(delete(LabelRow.table).where(LabelRow.image_id.in_(given)))
                rows = [{"image_id": key, "emotion": word, "said_at": now} for key, word in given.items() if word is not None]
                if rows:
                    connection.execute(insert(LabelRow.table), rows)
                rewrite_predictions(connection, list(given))

    def rescore(self, source: int, target: int, score: Score, advance: Callable[[int], None]) -> int:
        with self._engine.begin() as connection:
            rescored = rescore(connection, source, target, score, advance)
            build_page_anchors(connection, target)
            return rescored

    def forget_model(self, model_id: int) -> int:
        forgotten = after = 0
        while True:
            with self._engine.begin() as connection:
                ids = _next_ids(connection, model_id, after)
                if ids:
                    _forget_predictions(connection, model_id, after, ids[-1])
                if len(ids) < _DELETE_CHUNK_ROWS:
                    connection.execute(delete(GenerationRow.table).where(GenerationRow.model_id == model_id))
            forgotten += len(ids)
            if len(ids) < _DELETE_CHUNK_ROWS:
                return forgotten
            after = ids[-1]


def _next_ids(connection: Connection, model_id: int, after: int) -> Sequence[int]:
    """The next predictions of a model, as they lie."""
    row = PredictionRow
    some = select(row.id).where(row.model_id + 0 == model_id, row.id > after).order_by(row.id).limit(_DELETE_CHUNK_ROWS)
    return connection.execute(some).scalars().all()


def _forget_predictions(connection: Connection, model_id: int, after: int, last: int) -> None:
    """Delete a model's predictions with ids after one and up to another, and the embeddings that no other model shares."""
    row = PredictionRow
    some = and_(row.model_id + 0 == model_id, row.id > after, row.id <= last)
    others, sharing = row.table.alias(), ModelRow.table.alias()
    shared = exists().where(
        sharing.c.embedder_id == EmbeddingRow.embedder_id,
        sharing.c.id != model_id,
        others.c.model_id == sharing.c.id,
        others.c.image_id == EmbeddingRow.image_id,
        others.c.region == EmbeddingRow.region,
    )
    alone = select(EmbeddingRow.id).select_from(embedded()).where(some, ~shared)
    connection.execute(delete(EmbeddingRow.table).where(EmbeddingRow.id.in_(alone)))
    connection.execute(delete(row.table).where(some))


def _model_of(connection: Connection, run_id: int) -> int:
    return connection.execute(select(RunRow.model_id).where(RunRow.id == run_id)).scalar_one()


def _as_in(run_id: int | BindParameter[int]) -> ColumnElement[bool]:
    """Whether a prediction is by a run's model, in regions that were found as the run finds them."""
    same_finder = PredictionRow.finder_id.is_not_distinct_from(RunRow.finder_id)
    return and_(RunRow.id == run_id, PredictionRow.model_id == RunRow.model_id, same_finder)


_IS_PREDICTED = (
    select(PredictionRow.id)
    .join(ImageRow.table, ImageRow.id == PredictionRow.image_id)
    .join(RunRow.table, RunRow.id == bindparam("run"))
    .where(ImageRow.digest == bindparam("digest"), _as_in(bindparam("run")))
    .limit(1)
)
"""Asked for every file: putting it together takes three times as long as asking it."""


def _waiting(roots: Sequence[bytes]) -> ColumnElement[bool]:
    return and_(FileRow.state == FileState.PENDING, or_(*(file_under(root) for root in roots)))


def _image_ids(connection: Connection, batch: CommitBatch) -> dict[bytes, int]:
    new = [entry.image for entry in batch.predicted]
    if new:
        statement = upsert(ImageRow.table)
        # One that a repair knew by its digest alone gets its size back.
        known = {name: statement.excluded[name] for name in ("width", "height", "format")}
        connection.execute(
            statement.on_conflict_do_update(index_elements=["digest"], set_=known, where=ImageRow.width == 0),
            [{"digest": i.digest, "width": i.width, "height": i.height, "format": i.format} for i in new],
        )
    digests = {image.digest for image in new} | {digest for _, digest in batch.linked}
    ids: dict[bytes, int] = {}
    for chunk in chunks(sorted(digests)):
        rows = connection.execute(select(ImageRow.digest, ImageRow.id).where(ImageRow.digest.in_(chunk)))
        ids.update((digest, image_id) for digest, image_id in rows)
    return ids
