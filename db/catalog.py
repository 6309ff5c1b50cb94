"""The half of the SQLite store that indexing writes: scans, pending work, batches, moves."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Table,
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
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.dialects.sqlite import insert as upsert

from db.expiry import expire
from db.predictions import chunks, rescore, rewrite_predictions, write_predictions
from db.tables import (
    EmbedderRow,
    EmbeddingRow,
    FileRow,
    FinderRow,
    FolderRow,
    GenerationRow,
    ImageRow,
    LabelRow,
    ModelRow,
    PredictionRow,
    RunRow,
)
from indexer.domain import Failure, FileStamp, FileState
from indexer.history import DIED, RUNNING, WHY_IT_DIED
from indexer.ports import Batch, FolderNote, KnownFile, PendingFile

if TYPE_CHECKING:
    from indexer.domain import ModelCard
    from indexer.ports import Score

T = TypeVar("T")
_CHUNK = 500
_DELETED_AT_ONCE = 20_000
"""Predictions a transaction: with their embeddings some 50 MB of write-ahead log."""


class SqliteCatalog:
    """Implements `indexer.ports.Catalog`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def register_model(self, card: ModelCard) -> int:
        with self._engine.begin() as connection:
            # A model that was stored before its backbone was known has an embedder of its own: now that gets its true name.
            own = select(ModelRow.embedder_id).where(ModelRow.key == card.key)
            named = select(EmbedderRow.id).where(EmbedderRow.key == card.embeds_as)
            nameless = update(EmbedderRow.table).where(EmbedderRow.id.in_(own), EmbedderRow.key == card.key, ~named.exists())
            connection.execute(nameless.values(key=card.embeds_as))
            connection.execute(upsert(EmbedderRow.table).values(key=card.embeds_as).on_conflict_do_nothing())
            embedder = select(EmbedderRow.id).where(EmbedderRow.key == card.embeds_as).scalar_subquery()
            connection.execute(
                upsert(ModelRow.table)
                .values(
                    key=card.key,
                    name=card.name,
                    architecture=card.architecture,
                    weights_digest=card.weights_digest,
                    labels=list(card.labels),
                    input=asdict(card.input),
                    embedding_size=card.embedding_size,
                    spaces=dict(card.spaces),
                    backbone_digest=card.backbone_digest,
                    precision=card.precision,
                    embedder_id=embedder,
                )
                .on_conflict_do_update(index_elements=["key"], set_={"name": card.name})
            )
            return connection.execute(select(ModelRow.id).where(ModelRow.key == card.key)).scalar_one()

    def begin_run(self, roots: Sequence[bytes], model_id: int, finder: str | None = None) -> int:
        with self._engine.begin() as connection:
            died = update(RunRow.table).where(RunRow.outcome == RUNNING)
            connection.execute(died.values(outcome=DIED, reason=WHY_IT_DIED))
            if finder is not None:
                connection.execute(upsert(FinderRow.table).values(key=finder).on_conflict_do_nothing())
            run = insert(RunRow.table).values(
                started_at=time.time(),
                roots=[os.fsdecode(root) for root in roots],
                model_id=model_id,
                finder_id=select(FinderRow.id).where(FinderRow.key == finder).scalar_subquery(),
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

    def forget_run(self, run_id: int) -> None:
        with self._engine.begin() as connection:
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
        with self._engine.connect() as connection:
            return {
                name: KnownFile(
                    file_id, FileStamp(size, mtime), FileState(state), Failure(kind, why or "") if kind else None, has
                )
                for name, file_id, size, mtime, state, kind, why, has in connection.execute(query)
            }

    def known_folders(self, root: bytes) -> list[bytes]:
        with self._engine.connect() as connection:
            return list(connection.execute(select(FolderRow.path).where(_folder_under(root))).scalars())

    def settled_listings(self, root: bytes, run_id: int) -> dict[bytes, bytes]:
        same_look = and_(
            FolderRow.listed_model_id == RunRow.model_id, FolderRow.listed_finder_id.is_not_distinct_from(RunRow.finder_id)
        )
        unsettled = select(FileRow.folder_id).where(FileRow.state.in_((FileState.PENDING, FileState.FAILED)))
        query = (
            select(FolderRow.path, FolderRow.listing)
            .join(RunRow.table, and_(RunRow.id == run_id, same_look))
            .where(_folder_under(root), FolderRow.listing.is_not(None), FolderRow.id.not_in(unsettled))
        )
        with self._engine.connect() as connection:
            return {path: listing for path, listing in connection.execute(query) if listing is not None}

    def count_files(self, root: bytes) -> int:
        query = (
            select(func.count())
            .select_from(FileRow.table)
            .join(FolderRow.table)
            .where(file_under(root), FileRow.state != FileState.GONE)
        )
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def note_scan(self, run_id: int, notes: Sequence[FolderNote]) -> None:
        if not notes:
            return
        with self._engine.begin() as connection:
            folders = _folder_ids(connection, [note.folder for note in notes])
            listings = update(FolderRow.table).where(FolderRow.id == bindparam("folder"))
            run = connection.execute(select(RunRow.model_id, RunRow.finder_id).where(RunRow.id == run_id)).one()
            connection.execute(
                listings.values(listing=bindparam("new"), listed_model_id=run.model_id, listed_finder_id=run.finder_id),
                [{"folder": folders[note.folder], "new": note.listing} for note in notes],
            )
            rows = [row for note in notes for row in _noted(folders[note.folder], run_id, note)]
            if rows:
                connection.execute(_note_files(run_id), rows)

    def count_pending(self, roots: Sequence[bytes]) -> int:
        query = select(func.count()).select_from(FileRow.table).join(FolderRow.table).where(_waiting(roots))
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def pending(self, roots: Sequence[bytes], after: int, limit: int) -> list[PendingFile]:
        query = (
            select(FileRow.id, FolderRow.path, FileRow.name, FileRow.size, FileRow.mtime_ns)
            .join(FolderRow.table, FolderRow.id == FileRow.folder_id)
            .where(_waiting(roots), FileRow.id > after)
            .order_by(FileRow.id)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [
                PendingFile(file_id, os.path.join(folder, name), FileStamp(size, mtime))
                for file_id, folder, name, size, mtime in connection.execute(query)
            ]

    def is_predicted(self, digest: bytes, run_id: int) -> bool:
        query = (
            select(PredictionRow.id)
            .join(ImageRow.table, ImageRow.id == PredictionRow.image_id)
            .join(RunRow.table, RunRow.id == run_id)
            .where(ImageRow.digest == digest, _as_in(run_id))
        )
        with self._engine.connect() as connection:
            return connection.execute(query.limit(1)).first() is not None

    def commit(self, run_id: int, batch: Batch) -> None:
        with self._engine.begin() as connection:
            images = _image_ids(connection, batch)
            if batch.predicted:
                write_predictions(connection, run_id, images, batch.predicted)
            done = [(file, images[entry.image.digest]) for entry in batch.predicted for file in entry.files]
            done += [(file, images[digest]) for file, digest in batch.linked]
            _settle_files(connection, done, batch.failed)

    def settle_moves(self, run_id: int, missing: Sequence[int]) -> list[int]:
        with self._engine.begin() as connection:
            lost: list[tuple[int, int]] = []
            appeared: Counter[int] = Counter()
            for chunk in chunks(missing, _CHUNK):
                held = select(FileRow.id, FileRow.image_id).where(FileRow.id.in_(chunk), FileRow.image_id.is_not(None))
                lost += [(file_id, image_id) for file_id, image_id in connection.execute(held) if image_id is not None]
            for chunk in chunks(sorted({image_id for _, image_id in lost}), _CHUNK):
                found = (
                    select(FileRow.image_id, func.count())
                    .where(FileRow.image_id.in_(chunk), FileRow.appeared_run_id == run_id, FileRow.state == FileState.DONE)
                    .group_by(FileRow.image_id)
                )
                appeared.update({image_id: n for image_id, n in connection.execute(found) if image_id is not None})
            moved: list[int] = []
            for file_id, image_id in lost:
                if appeared[image_id] > 0:
                    appeared[image_id] -= 1
                    moved.append(file_id)
            for chunk in chunks(moved, _CHUNK):
                # Should they come back as they were, they must not pass for listed.
                left = select(FileRow.folder_id).where(FileRow.id.in_(chunk))
                connection.execute(update(FolderRow.table).where(FolderRow.id.in_(left)).values(listing=None))
                connection.execute(delete(FileRow.table).where(FileRow.id.in_(chunk)))
            return moved

    def mark_gone(self, file_ids: Sequence[int]) -> None:
        with self._engine.begin() as connection:
            for chunk in chunks(file_ids, _CHUNK):
                gone = update(FileRow.table).where(FileRow.id.in_(chunk))
                connection.execute(gone.values(state=FileState.GONE, failure_kind=None, failure_reason=None, gone_at=time.time()))

    def expire(self, before: float) -> int:
        return expire(self._engine, before)

    def label(self, emotions: Mapping[bytes, str | None]) -> None:
        now = time.time()
        with self._engine.begin() as connection:
            for chunk in chunks(sorted(emotions), _CHUNK):
                known = connection.execute(select(ImageRow.id, ImageRow.digest).where(ImageRow.digest.in_(chunk))).all()
                given = {image_id: emotions[digest] for image_id, digest in known}
                connection.execute(delete(LabelRow.table).where(LabelRow.image_id.in_(given)))
                rows = [{"image_id": key, "emotion": word, "said_at": now} for key, word in given.items() if word is not None]
                if rows:
                    connection.execute(insert(LabelRow.table), rows)
                rewrite_predictions(connection, list(given))

    def rescore(self, source: int, target: int, score: Score, advance: Callable[[int], None]) -> int:
        with self._engine.begin() as connection:
            return rescore(connection, source, target, score, advance)

    def forget_model(self, model_id: int) -> int:
        with self._engine.begin() as connection:
            connection.execute(delete(GenerationRow.table).where(GenerationRow.model_id == model_id))
            embedder = connection.execute(select(ModelRow.embedder_id).where(ModelRow.id == model_id)).scalar_one()
            sharing = select(PredictionRow.id).join(ModelRow.table, ModelRow.id == PredictionRow.model_id)
            others = sharing.where(ModelRow.embedder_id == embedder, ModelRow.id != model_id).limit(1)
            shared = connection.execute(others).first() is not None
        forgotten = self._delete_all(PredictionRow.table, PredictionRow.id, PredictionRow.model_id == model_id)
        if not shared:
            self._delete_all(EmbeddingRow.table, EmbeddingRow.id, EmbeddingRow.embedder_id == embedder)
        return forgotten

    def _delete_all(self, table: Table, key: ColumnElement[int], condition: ColumnElement[bool]) -> int:
        """Delete rows in several transactions; how many there were."""
        some = select(key).where(condition).limit(_DELETED_AT_ONCE)
        deleted = 0
        while True:
            with self._engine.begin() as connection:
                count = connection.execute(delete(table).where(key.in_(some))).rowcount
            if not count:
                return deleted
            deleted += count


def file_under(root: bytes) -> ColumnElement[bool]:
    """Whether a file (joined to its folder) is the root itself or lies below it."""
    itself = and_(FolderRow.path == os.path.dirname(root), FileRow.name == os.path.basename(root))
    return or_(_folder_under(root), itself)


def _folder_under(root: bytes) -> ColumnElement[bool]:
    # Every path below the root starts with it and a slash; blobs compare byte by byte and "0" follows "/".
    stem = root.rstrip(b"/")
    return or_(FolderRow.path == root, and_(FolderRow.path > stem + b"/", FolderRow.path < stem + b"0"))


def _as_in(run_id: int) -> ColumnElement[bool]:
    """Whether a prediction is by a run's model, in regions that were found as the run finds them."""
    same_finder = PredictionRow.finder_id.is_not_distinct_from(RunRow.finder_id)
    return and_(RunRow.id == run_id, PredictionRow.model_id == RunRow.model_id, same_finder)


def _waiting(roots: Sequence[bytes]) -> ColumnElement[bool]:
    return and_(FileRow.state == FileState.PENDING, or_(*(file_under(root) for root in roots)))


def _folder_ids(connection: Connection, paths: Sequence[bytes]) -> dict[bytes, int]:
    connection.execute(upsert(FolderRow.table).on_conflict_do_nothing(), [{"path": path} for path in paths])
    ids: dict[bytes, int] = {}
    for chunk in chunks(paths, _CHUNK):
        rows = connection.execute(select(FolderRow.path, FolderRow.id).where(FolderRow.path.in_(chunk)))
        ids.update((path, folder_id) for path, folder_id in rows)
    return ids


def _note_files(run_id: int) -> Insert:
    statement = upsert(FileRow.table)
    new = statement.excluded
    failed = new.state == FileState.FAILED
    return statement.on_conflict_do_update(
        index_elements=["folder_id", "name"],
        set_={
            "size": new.size,
            "mtime_ns": new.mtime_ns,
            "state": new.state,
            "failure_kind": new.failure_kind,
            "failure_reason": new.failure_reason,
            "image_id": func.iif(failed, None, FileRow.image_id),
            "appeared_run_id": func.iif(FileRow.state == FileState.GONE, run_id, FileRow.appeared_run_id),
            "gone_at": None,
        },
    )


def _noted(folder_id: int, run_id: int, note: FolderNote) -> Iterator[dict[str, object]]:
    entries: list[tuple[bytes, FileStamp, Failure | None]] = [(name, stamp, None) for name, stamp in note.pending.items()]
    entries += [(name, stamp, failure) for name, (stamp, failure) in note.failed.items()]
    for name, stamp, failure in entries:
        yield {
            "folder_id": folder_id,
            "name": name,
            "size": stamp.size,
            "mtime_ns": stamp.mtime_ns,
            "state": FileState.FAILED if failure else FileState.PENDING,
            "failure_kind": failure.kind if failure else None,
            "failure_reason": failure.reason if failure else None,
            "appeared_run_id": run_id,
        }


def _image_ids(connection: Connection, batch: Batch) -> dict[bytes, int]:
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
    for chunk in chunks(sorted(digests), _CHUNK):
        rows = connection.execute(select(ImageRow.digest, ImageRow.id).where(ImageRow.digest.in_(chunk)))
        ids.update((digest, image_id) for digest, image_id in rows)
    return ids


def _settle_files(
    connection: Connection, done: Sequence[tuple[PendingFile, int]], failed: Sequence[tuple[PendingFile, Failure]]
) -> None:
    settle = (
        update(FileRow.table)
        .where(FileRow.id == bindparam("file_id"))
        .values(
            size=bindparam("new_size"),
            mtime_ns=bindparam("new_mtime_ns"),
            state=bindparam("new_state"),
            image_id=bindparam("new_image_id"),
            failure_kind=bindparam("new_kind"),
            failure_reason=bindparam("new_reason"),
        )
    )
    rows = [_settled(file, FileState.DONE, image_id, None) for file, image_id in done]
    rows += [_settled(file, FileState.FAILED, None, failure) for file, failure in failed]
    if rows:
        connection.execute(settle, rows)


def _settled(file: PendingFile, state: FileState, image_id: int | None, failure: Failure | None) -> dict[str, object]:
    return {
        "file_id": file.id,
        "new_size": file.stamp.size,
        "new_mtime_ns": file.stamp.mtime_ns,
        "new_state": state,
        "new_image_id": image_id,
        "new_kind": failure.kind if failure else None,
        "new_reason": failure.reason if failure else None,
    }
