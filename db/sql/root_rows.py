"""Rows of roots, and changes of everything at or below a path: forgotten or moved."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, or_, select, update

from db.schema import FileRow, FolderRow, JobRow, RootRow, RunRow
from db.sql.dialect import chunks, no_index, upsert
from db.sql.path_list import PATH_LIST, file_ids_in_list, listed_paths
from db.sql.search_queries import is_live
from indexer.domain.files import FileState
from indexer.domain.path_set import PathSet
from indexer.domain.runs import DONE

if TYPE_CHECKING:
    from sqlalchemy.dialects.sqlite import Insert

FORGOTTEN_AT = 0.0
"""When files are missed that a user wants to be forgotten: before every grace period."""


def record_roots(connection: Connection, roots: Collection[bytes], absorbed: Collection[bytes], now: float) -> None:
    """Record roots as indexed now, and forget those that other roots contain."""
    if roots:
        rows = [{"path": root, "indexed_at": now} for root in roots]
        connection.execute(upsert_root(connection.dialect.name), rows)
    for chunk in chunks(absorbed):
        connection.execute(delete(RootRow.table).where(RootRow.path.in_(chunk)))


def upsert_root(dialect: str) -> Insert:
    """Return the statement that adds a root, or renews the time of a known one."""
    statement = upsert(dialect, RootRow.table)
    return statement.on_conflict_do_update(index_elements=["path"], set_={"indexed_at": statement.excluded.indexed_at})


def earlier_copies(run_id: int) -> Select[*tuple[Any, ...]]:
    """Select the live files whose image also has a file that appeared later, in this run or an interrupted one before it."""
    done = select(func.coalesce(func.max(RunRow.id), 0)).where(RunRow.id < run_id, RunRow.outcome == DONE).scalar_subquery()
    new = FileRow.table.alias("new")
    # Grouped first: one image may have tens of thousands of files, whose pairs would be too many.
    latest = (
        select(new.c.image_id, func.max(new.c.appeared_run_id).label("run_id"))
        .where(new.c.appeared_run_id > done, new.c.state == FileState.DONE)
        .group_by(new.c.image_id)
        .subquery()
    )
    return (
        select(FileRow.id, FolderRow.path, FileRow.name)
        .select_from(latest)
        .join(FileRow.table, FileRow.image_id == latest.c.image_id)
        .join(FolderRow.table, FolderRow.id == no_index(FileRow.folder_id))
        .where(latest.c.run_id > FileRow.appeared_run_id, is_live())
    )


def forget_files(connection: Connection, paths: Collection[bytes]) -> int:
    """Mark everything at or below some paths as missing since `FORGOTTEN_AT`, and forget the roots there."""
    with listed_paths(connection, PathSet(paths).outermost()):
        below = and_(RootRow.path > PATH_LIST.c.first, RootRow.path < PATH_LIST.c.last)
        for condition in (RootRow.path == PATH_LIST.c.path, below):
            roots = select(RootRow.id).select_from(PATH_LIST.join(RootRow.table, condition))
            connection.execute(delete(RootRow.table).where(RootRow.id.in_(roots)))
        ids = list(connection.execute(file_ids_in_list()).scalars())
    for chunk in chunks(ids):
        forgotten = update(FileRow.table).where(FileRow.id.in_(chunk))
        connection.execute(forgotten.values(state=FileState.GONE, failure_kind=None, failure_reason=None, gone_at=FORGOTTEN_AT))
    return len(ids)


def move_files(connection: Connection, old: bytes, new: bytes, job_roots: Mapping[bytes, bytes]) -> int:
    """Give everything at or below a path another path; return the number of files. See `StoreWriter.move_files`."""
    moved = 0
    for folder_id, path in _folders_below(connection, old):
        moved += _move_folder(connection, folder_id, new + path[len(old) :])
    moved += _move_file(connection, old, new)
    _move_roots(connection, old, new)
    for job_id, roots in connection.execute(select(JobRow.id, JobRow.roots)).all():
        targets = [os.fsdecode(job_roots.get(os.fsencode(root), os.fsencode(root))) for root in roots]
        if targets != roots:
            connection.execute(update(JobRow.table).where(JobRow.id == job_id).values(roots=targets))
    return moved


def _folders_below(connection: Connection, root: bytes) -> Iterable[tuple[int, bytes]]:
    """Return the folders at or below a root, outer ones first."""
    stem = root.rstrip(b"/")
    below = or_(FolderRow.path == root, and_(FolderRow.path > stem + b"/", FolderRow.path < stem + b"0"))
    rows = connection.execute(select(FolderRow.id, FolderRow.path).where(below).order_by(FolderRow.path))
    return [(row.id, row.path) for row in rows]


def _move_folder(connection: Connection, folder_id: int, target: bytes) -> int:
    folder = FolderRow.table
    there = connection.execute(select(FolderRow.id).where(FolderRow.path == target)).scalar()
    if there is None:
        connection.execute(update(folder).where(FolderRow.id == folder_id).values(path=target))
        return _count_present(connection, FileRow.folder_id == folder_id)
    present = select(FileRow.name).where(FileRow.folder_id == folder_id, FileRow.state != FileState.GONE)
    missing = (FileRow.folder_id == there, FileRow.state == FileState.GONE, FileRow.name.in_(present))
    connection.execute(delete(FileRow.table).where(*missing))
    names = select(FileRow.name).where(FileRow.folder_id == there)
    connection.execute(delete(FileRow.table).where(FileRow.folder_id == folder_id, FileRow.name.in_(names)))
    moved = _count_present(connection, FileRow.folder_id == folder_id)
    connection.execute(update(FileRow.table).where(FileRow.folder_id == folder_id).values(folder_id=there))
    connection.execute(update(folder).where(FolderRow.id == there).values(listing=None))
    connection.execute(delete(folder).where(FolderRow.id == folder_id))
    return moved


def _move_file(connection: Connection, old: bytes, new: bytes) -> int:
    (folder, name), (target, new_name) = os.path.split(old), os.path.split(new)
    row = connection.execute(
        select(FileRow.id, FileRow.state, FolderRow.id.label("folder_id"), FolderRow.source)
        .join(FolderRow.table, FolderRow.id == FileRow.folder_id)
        .where(FolderRow.path == folder, FileRow.name == name)
    ).first()
    if row is None:
        return 0
    insert = upsert(connection.dialect.name, FolderRow.table).on_conflict_do_nothing()
    connection.execute(insert.values(path=target, source=row.source))
    target_id = connection.execute(select(FolderRow.id).where(FolderRow.path == target)).scalar_one()
    changed = FolderRow.id.in_([row.folder_id, target_id])
    connection.execute(update(FolderRow.table).where(changed).values(listing=None))
    there = (FileRow.folder_id == target_id, FileRow.name == new_name)
    if row.state != FileState.GONE:
        connection.execute(delete(FileRow.table).where(*there, FileRow.state == FileState.GONE))
    if connection.execute(select(FileRow.id).where(*there)).first() is not None:
        connection.execute(delete(FileRow.table).where(FileRow.id == row.id))
        return 0
    connection.execute(update(FileRow.table).where(FileRow.id == row.id).values(folder_id=target_id, name=new_name))
    return int(row.state != FileState.GONE)


def _count_present(connection: Connection, condition: ColumnElement[bool]) -> int:
    files = select(func.count()).select_from(FileRow.table).where(condition, FileRow.state != FileState.GONE)
    return connection.execute(files).scalar_one()


def _move_roots(connection: Connection, old: bytes, new: bytes) -> None:
    before: dict[bytes, float] = dict(connection.execute(root_rows()).all())
    after = {_moved(path, old, new): indexed_at for path, indexed_at in before.items()}
    around = PathSet(before).around(old)
    if around is not None and not PathSet(after).covers(new):
        after[new] = before[around]
    for path in before.keys() - after.keys():
        connection.execute(delete(RootRow.table).where(RootRow.path == path))
    for path in after.keys() - before.keys():
        record_roots(connection, [path], [], after[path])


def _moved(path: bytes, old: bytes, new: bytes) -> bytes:
    return new + path[len(old) :] if path == old or path.startswith(old.rstrip(b"/") + b"/") else path


def root_rows() -> Select[*tuple[Any, ...]]:
    """Select every root with the time of its last run, by path."""
    return select(RootRow.path, RootRow.indexed_at).order_by(RootRow.path)
