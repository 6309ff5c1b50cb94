"""Rows of files and folders: scan results, finished files, moved files, missing files."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    and_,
    bindparam,
    case,
    delete,
    func,
    literal_column,
    null,
    or_,
    select,
    text,
    update,
)

from db.schema import FileRow, FolderRow, RunRow
from db.sql.dialect import chunks, insert_missing, upsert, upsert_many
from db.sql.run_analyzers import listing_columns, run_analyzers
from indexer.domain.files import Failure, FileStamp, FileState
from indexer.domain.runs import DONE

if TYPE_CHECKING:
    from sqlalchemy.dialects.sqlite import Insert

    from indexer.ports.store_writer import FolderScanResult, PendingFile


def file_under(root: bytes) -> ColumnElement[bool]:
    """Select the root itself, if it is a file, and the files below it. Files must be joined to their folders."""
    itself = and_(FolderRow.path == os.path.dirname(root), FileRow.name == os.path.basename(root))
    return or_(folder_under(root), itself)


def folder_under(root: bytes) -> ColumnElement[bool]:
    """Select the root itself, if it is a folder, and the folders below it."""
    # Every path below the root starts with it and a slash; blobs compare byte by byte, and "0" is the byte after "/".
    stem = root.rstrip(b"/")
    return or_(FolderRow.path == root, and_(FolderRow.path > stem + b"/", FolderRow.path < stem + b"0"))


def record_files(connection: Connection, run_id: int, results: Sequence[FolderScanResult]) -> None:
    """Record what a scan found, see `indexer.ports.store_writer.StoreWriter.record_scan`."""
    # In one order, so that transactions that change the same folders and files do not wait for each other.
    results = sorted(results, key=lambda result: result.folder)
    folders = _folder_ids(connection, {result.folder: result.source for result in results})
    listings = update(FolderRow.table).where(FolderRow.id == bindparam("folder"))
    analyzers = listing_columns(run_analyzers(connection, run_id))
    connection.execute(
        listings.values(listing=bindparam("new"), **analyzers),
        [{"folder": folders[result.folder], "new": result.listing} for result in results],
    )
    restamped = [
        {"folder": folders[result.folder], "file": name, "new": stamp.change}
        for result in results
        for name, stamp in result.restamped.items()
    ]
    if restamped:
        own = (FileRow.folder_id == bindparam("folder"), FileRow.name == bindparam("file"))
        connection.execute(update(FileRow.table).where(*own).values(change=bindparam("new")), restamped)
    rows = [row for result in results for row in _scanned_rows(folders[result.folder], run_id, result)]
    if rows:
        upsert_many(connection, upsert_scanned(connection.dialect.name, run_id), rows)


def finish_files(
    connection: Connection, done: Sequence[tuple[PendingFile, int]], failed: Sequence[tuple[PendingFile, Failure]]
) -> None:
    """Mark pending files as done, each with the id of its image, or as failed."""
    rows = [_finished_row(file, FileState.DONE, image_id, None) for file, image_id in done]
    rows += [_finished_row(file, FileState.FAILED, None, failure) for file, failure in failed]
    if rows:
        rows.sort(key=itemgetter("file_id"))
        if connection.dialect.name == "postgresql":
            connection.execute(_FINISH_MANY, {name: [row[name] for row in rows] for name in rows[0]})
        else:
            connection.execute(_finish_file(), rows)


# One statement for all rows, which PostgreSQL executes several times faster than one for each.
_FINISH_MANY = text(
    "UPDATE files SET size = new.size, mtime_ns = new.mtime_ns, change = new.change, state = new.state, "
    "image_id = new.image_id, failure_kind = new.kind, failure_reason = new.reason "
    "FROM unnest(CAST(:file_id AS bigint[]), CAST(:new_size AS bigint[]), CAST(:new_mtime_ns AS bigint[]), "
    "CAST(:new_change AS bigint[]), CAST(:new_state AS text[]), CAST(:new_image_id AS bigint[]), CAST(:new_kind AS text[]), "
    "CAST(:new_reason AS text[])) AS new(id, size, mtime_ns, change, state, image_id, kind, reason) WHERE files.id = new.id"
)


def _finish_file() -> Update:
    return (
        update(FileRow.table)
        .where(FileRow.id == bindparam("file_id"))
        .values(
            size=bindparam("new_size"),
            mtime_ns=bindparam("new_mtime_ns"),
            change=bindparam("new_change"),
            state=bindparam("new_state"),
            image_id=bindparam("new_image_id"),
            failure_kind=bindparam("new_kind"),
            failure_reason=bindparam("new_reason"),
        )
    )


def detect_moves(connection: Connection, run_id: int, missing: Sequence[int]) -> list[int]:
    """Delete missing files that moved, see `indexer.ports.store_writer.StoreWriter.detect_moves`; return their ids."""
    # Files that appeared in interrupted runs, after the last complete one, count as appeared in this run.
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
        # If they come back unchanged, their folders must not count as unchanged.
        left = select(FileRow.folder_id).where(FileRow.id.in_(chunk))
        connection.execute(update(FolderRow.table).where(FolderRow.id.in_(left)).values(listing=None))
        connection.execute(delete(FileRow.table).where(FileRow.id.in_(chunk)))
    return moved


def _folder_ids(connection: Connection, sources: Mapping[bytes, str]) -> dict[bytes, int]:
    """Return the ids of folders, given with their sources; new ones are added."""
    rows = [{"path": path, "source": source} for path, source in sources.items()]
    connection.execute(insert_missing(connection.dialect.name, FolderRow.table), rows)
    ids: dict[bytes, int] = {}
    for chunk in chunks(list(sources)):
        found = connection.execute(select(FolderRow.path, FolderRow.id).where(FolderRow.path.in_(chunk)))
        ids.update((path, folder_id) for path, folder_id in found)
    return ids


def upsert_scanned(dialect: str, run_id: int) -> Insert:
    """Return the statement that adds a scanned file, or updates a known one. A file that was missing appears in this run."""
    statement = upsert(dialect, FileRow.table)
    new = statement.excluded
    failed = new.state == literal_column(f"'{FileState.FAILED.value}'")
    missing = FileRow.state == literal_column(f"'{FileState.GONE.value}'")
    return statement.on_conflict_do_update(
        index_elements=["folder_id", "name"],
        set_={
            "size": new.size,
            "mtime_ns": new.mtime_ns,
            "change": new.change,
            "state": new.state,
            "failure_kind": new.failure_kind,
            "failure_reason": new.failure_reason,
            "image_id": case((failed, null()), else_=FileRow.image_id),
            "appeared_run_id": case((missing, literal_column(str(run_id))), else_=FileRow.appeared_run_id),
            "gone_at": null(),
        },
    )


def _scanned_rows(folder_id: int, run_id: int, result: FolderScanResult) -> Iterator[dict[str, object]]:
    entries: list[tuple[bytes, FileStamp, Failure | None]] = [(name, stamp, None) for name, stamp in result.pending.items()]
    entries += [(name, stamp, failure) for name, (stamp, failure) in result.failed.items()]
    for name, stamp, failure in sorted(entries, key=itemgetter(0)):
        yield {
            "folder_id": folder_id,
            "name": name,
            "size": stamp.size,
            "mtime_ns": stamp.version,
            "change": stamp.change,
            "state": FileState.FAILED if failure else FileState.PENDING,
            "failure_kind": failure.kind if failure else None,
            "failure_reason": failure.reason if failure else None,
            "appeared_run_id": run_id,
        }


def _finished_row(file: PendingFile, state: FileState, image_id: int | None, failure: Failure | None) -> dict[str, object]:
    return {
        "file_id": file.id,
        "new_size": file.stamp.size,
        "new_mtime_ns": file.stamp.version,
        "new_change": file.stamp.change,
        "new_state": state,
        "new_image_id": image_id,
        "new_kind": failure.kind if failure else None,
        "new_reason": failure.reason if failure else None,
    }


def mark_missing(connection: Connection, file_ids: Sequence[int], now: float) -> None:
    """Mark files as missing since `now`, in seconds since the epoch."""
    for chunk in chunks(file_ids):
        missing = update(FileRow.table).where(FileRow.id.in_(chunk))
        connection.execute(missing.values(state=FileState.GONE, failure_kind=None, failure_reason=None, gone_at=now))
