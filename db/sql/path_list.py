"""A temporary table of paths, so that a statement can name any number of them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Column, LargeBinary, MetaData, Select, Table, and_, select, union
from sqlalchemy.schema import CreateTable, DropTable

from db.schema import FileRow, FolderRow
from db.sql.dialect import insert_tuples

if TYPE_CHECKING:
    from sqlalchemy import Connection

PATH_LIST = Table(
    "path_list",
    MetaData(),
    *(Column(name, LargeBinary) for name in ("path", "folder", "name", "first", "last")),
    prefixes=["TEMPORARY"],
)
"""Paths, each with its folder and name. The paths below it are greater than `first` and less than `last`."""


def files_below_list() -> Select[int]:
    """Select the ids of the files that are in `PATH_LIST`, or below a folder in it.

    There is a query for each index that SQLite can use.
    """
    listed = PATH_LIST.columns
    files = select(FileRow.id).join_from(FolderRow.table, FileRow.table, FileRow.folder_id == FolderRow.id)
    named = files.join(PATH_LIST, and_(FolderRow.path == listed.folder, FileRow.name == listed.name))
    inside = files.join(PATH_LIST, FolderRow.path == listed.path)
    below = files.join(PATH_LIST, and_(FolderRow.path > listed.first, FolderRow.path < listed.last))
    return select(union(named, inside, below).subquery().c.id)


@contextmanager
def listed_paths(connection: Connection, paths: Collection[bytes]) -> Iterator[None]:
    """Fill `PATH_LIST` with some paths for the `with` block; only this connection sees it."""
    connection.execute(CreateTable(PATH_LIST))
    try:
        insert_tuples(connection, PATH_LIST, PATH_LIST.columns.keys(), [_row(path) for path in paths])
        yield
    finally:
        connection.execute(DropTable(PATH_LIST))


def _row(path: bytes) -> tuple[bytes, ...]:
    # As in `db.sql.file_rows.folder_under`: "0" is the byte after "/".
    stem = path.rstrip(b"/")
    return (path, *os.path.split(path), stem + b"/", stem + b"0")
