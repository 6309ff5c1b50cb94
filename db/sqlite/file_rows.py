"""The rows of files and their folders: what a scan notes of them, what a batch makes of them, which of them have moved."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, func, or_, select, update
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.dialects.sqlite import insert as upsert

from db.sqlite.prediction_rows import chunks
from db.sqlite.schema import FileRow, FolderRow, RunRow
from indexer.domain.files import Failure, FileStamp, FileState
from indexer.domain.runs import DONE
from indexer.ports.store_writer import FolderScanResult, PendingFile


def file_under(root: bytes) -> ColumnElement[bool]:
    """Whether a file (joined to its folder) is the root itself or lies below it."""
    itself = and_(FolderRow.path == os.path.dirname(root), FileRow.name == os.path.basename(root))
    return or_(folder_under(root), itself)


def folder_under(root: bytes) -> ColumnElement[bool]:
    """Whether a folder is the root or lies below it."""
    # Every path below the root starts with it and a slash; blobs compare byte by byte and "0" follows "/".
    stem = root.rstrip(b"/")
    return or_(FolderRow.path == root, and_(FolderRow.path > stem + b"/", FolderRow.path < stem + b"0"))


def record_files(connection: Connection, run_id: int, notes: Sequence[FolderScanResult]) -> None:
    """As `indexer.ports.store_writer.StoreWriter.record_scan`."""
    folders = _folder_ids(connection, [note.folder for note in notes])
    listings = update(FolderRow.table).where(FolderRow.id == bindparam("folder"))
    run = connection.execute(select(RunRow.model_id, RunRow.finder_id).where(RunRow.id == run_id)).one()
    connection.execute(
        listings.values(listing=bindparam("new"), listed_model_id=run.model_id, listed_finder_id=run.finder_id),
        [{"folder": folders[note.folder], "new": note.listing} for note in notes],
    )
    rows = [row for note in notes for row in _noted(folders[note.folder], run_id, note)]
    if rows:
        connection.execute(_note(run_id), rows)


def finish_files(
    connection: Connection, done: Sequence[tuple[PendingFile, int]], failed: Sequence[tuple[PendingFile, Failure]]
) -> None:
    """Let files be done, each with its picture, or failed, and no longer wait."""
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


def detect_moves(connection: Connection, run_id: int, missing: Sequence[int]) -> list[int]:
    """As `indexer.ports.store_writer.StoreWriter.detect_moves`."""
    # What appeared in runs that came to no end since the last that did has appeared for this one.
    done = select(func.max(RunRow.id)).where(RunRow.id < run_id, RunRow.outcome == DONE)
    since = connection.execute(done).scalar() or 0
    lost: list[tuple[int, int, int]] = []
    appeared: dict[int, list[int]] = defaultdict(list)
    for chunk in chunks(missing):
        held = select(FileRow.id, FileRow.image_id, FileRow.appeared_run_id).where(
            FileRow.id.in_(chunk), FileRow.image_id.is_not(None)
        )
        lost += [(row.id, row.image_id, row.appeared_run_id) for row in connection.execute(held)]
    for chunk in chunks(sorted({image_id for _, image_id, _ in lost})):
        found = select(FileRow.image_id, FileRow.appeared_run_id).where(
            FileRow.image_id.in_(chunk), FileRow.appeared_run_id > since, FileRow.state == FileState.DONE
        )
        for row in connection.execute(found):
            appeared[row.image_id].append(row.appeared_run_id)
    moved: list[int] = []
    for file_id, image_id, known_since in lost:
        later = next((run for run in appeared[image_id] if run > known_since), None)
        if later is not None:
            appeared[image_id].remove(later)
            moved.append(file_id)
    for chunk in chunks(moved):
        # Should they come back as they were, they must not pass for listed.
        left = select(FileRow.folder_id).where(FileRow.id.in_(chunk))
        connection.execute(update(FolderRow.table).where(FolderRow.id.in_(left)).values(listing=None))
        connection.execute(delete(FileRow.table).where(FileRow.id.in_(chunk)))
    return moved


def _folder_ids(connection: Connection, paths: Sequence[bytes]) -> dict[bytes, int]:
    connection.execute(upsert(FolderRow.table).on_conflict_do_nothing(), [{"path": path} for path in paths])
    ids: dict[bytes, int] = {}
    for chunk in chunks(paths):
        rows = connection.execute(select(FolderRow.path, FolderRow.id).where(FolderRow.path.in_(chunk)))
        ids.update((path, folder_id) for path, folder_id in rows)
    return ids


def _note(run_id: int) -> Insert:
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


def _noted(folder_id: int, run_id: int, note: FolderScanResult) -> Iterator[dict[str, object]]:
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
