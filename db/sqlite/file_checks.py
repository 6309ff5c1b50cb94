"""List the indexed files of a database, for comparison with the disk, and queue some of them again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from db.sqlite.errors import reading_rows
from db.sqlite.raw_connection import reading, writing
from indexer.domain.files import FileStamp
from indexer.domain.health import IndexedFile

_FILE_CHUNK_ROWS = 2000
_QUERY = (
    "SELECT files.id, folders.path, files.name, size, mtime_ns, digest FROM files JOIN folders ON folders.id = folder_id "
    "JOIN images ON images.id = image_id WHERE state = 'done'"
)


def done_files(database: Path) -> Iterator[list[IndexedFile]]:
    """Yield chunks of the files that are done, oldest first.

    Each chunk is a transaction of its own: reading the files may take hours, and the write-ahead log grows during a transaction.
    """
    after = 0
    while True:
        with reading(database) as connection:
            rows = connection.execute(
                f"{_QUERY} AND files.id > ? ORDER BY files.id LIMIT {_FILE_CHUNK_ROWS}", (after,)
            ).fetchall()
            with reading_rows(connection):
                files = [_indexed_file(row) for row in rows]
        if not files:
            return
        yield files
        after = files[-1].id


def still_known(database: Path, places: Sequence[IndexedFile]) -> set[IndexedFile]:
    """Return those files of a chunk for which the database still has the same stamp and digest."""
    with reading(database) as connection:
        between = (places[0].id, places[-1].id)
        rows = connection.execute(f"{_QUERY} AND files.id BETWEEN ? AND ?", between)
        with reading_rows(connection):
            return {_indexed_file(row) for row in rows}.intersection(places)


def requeue_files(database: Path, places: Sequence[IndexedFile]) -> None:
    """Mark files as pending, as if they had changed."""
    with writing(database) as connection:
        connection.executemany("UPDATE files SET state = 'pending' WHERE id = ?", [(place.id,) for place in places])


def _indexed_file(row: tuple[int, bytes, bytes, int, int, bytes]) -> IndexedFile:
    number, folder, name, size, mtime, digest = row
    return IndexedFile(number, os.path.join(folder, name), FileStamp(size, mtime), digest)
