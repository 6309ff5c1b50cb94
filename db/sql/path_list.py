"""A temporary table of paths, so that a statement can name any number of them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Column, ColumnElement, CompoundSelect, LargeBinary, MetaData, Select, Table, and_, func, select, union_all
from sqlalchemy.schema import CreateTable, DropTable

from db.schema import FileRow, FolderRow
from db.sql.dialect import insert_tuples, no_index
from indexer.domain.files import FileState

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import Connection

PATH_LIST = Table(
    "path_list",
    MetaData(),
    *(Column(name, LargeBinary) for name in ("path", "folder", "name", "first", "last")),
    prefixes=["TEMPORARY"],
)
"""Paths, each with its folder and name. The paths below it are greater than `first` and less than `last`."""


_SAME: ColumnElement[bool] = FolderRow.path == PATH_LIST.c.path
_BELOW: ColumnElement[bool] = and_(FolderRow.path > PATH_LIST.c.first, FolderRow.path < PATH_LIST.c.last)
_AROUND: ColumnElement[bool] = FolderRow.path == PATH_LIST.c.folder
# `no_index` keeps SQLite from reading all files and looking up the folder of each.
_IN_FOLDER: ColumnElement[bool] = FileRow.folder_id == no_index(FolderRow.id)


def folder_ids_in_list() -> CompoundSelect[int]:
    """Select the ids of the folders at or below the paths in `PATH_LIST`; two queries, each of which uses the index of paths."""
    folders = (PATH_LIST.join(FolderRow.table, condition) for condition in (_SAME, _BELOW))
    return union_all(*(select(FolderRow.id).select_from(some) for some in folders))


def file_ids_in_list() -> CompoundSelect[int]:
    """Select the ids of the files that are paths in `PATH_LIST` or below them."""
    return union_all(*(query.with_only_columns(FileRow.id) for query in _files()))


def file_counts_in_list() -> CompoundSelect[*tuple[Any, ...]]:
    """Select the numbers of files at or below each path in `PATH_LIST` that are not missing, in several rows for each path."""
    path = PATH_LIST.c.path
    present = FileRow.state != FileState.GONE
    return union_all(*(query.with_only_columns(path, func.count()).where(present).group_by(path) for query in _files()))


def present_files_in_list() -> CompoundSelect[*tuple[Any, ...]]:
    """Select folder and name of the files that are paths in `PATH_LIST` or below them and are not missing."""
    present = FileRow.state != FileState.GONE
    return union_all(*(query.with_only_columns(FolderRow.path, FileRow.name).where(present) for query in _files()))


def _files() -> list[Select[int]]:
    itself = and_(_IN_FOLDER, FileRow.name == PATH_LIST.c.name)
    sources = [PATH_LIST.join(FolderRow.table, condition).join(FileRow.table, _IN_FOLDER) for condition in (_SAME, _BELOW)]
    sources.append(PATH_LIST.join(FolderRow.table, _AROUND).join(FileRow.table, itself))
    return [select(FileRow.id).select_from(source) for source in sources]


@contextmanager
def listed_paths(connection: Connection, paths: Collection[bytes]) -> Iterator[None]:
    """Fill `PATH_LIST` with some paths for the `with` block; only this connection sees it.

    An error inside ends the transaction, and the table with it.
    """
    connection.execute(CreateTable(PATH_LIST))
    if paths:
        insert_tuples(connection, PATH_LIST, PATH_LIST.columns.keys(), [_row(path) for path in paths])
    yield
    connection.execute(DropTable(PATH_LIST))


def _row(path: bytes) -> tuple[bytes, ...]:
    # As in `db.sql.file_rows.folder_under`: "0" is the byte after "/".
    stem = path.rstrip(b"/")
    return (path, *os.path.split(path), stem + b"/", stem + b"0")
