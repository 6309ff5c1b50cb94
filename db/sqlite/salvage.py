"""Salvage: copy every readable row of a damaged database into a new one.

A table is read from both ends towards the damage; then the gap is halved until single rows are left, so that a bad page costs
only the rows on it. Indexes hold copies of columns, so they can restore files, folders, digests and labels that a table lost.
"""

# ruff: noqa: S608  # names in the SQL are constants of this program

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from db.sqlite.check import TABLES, count
from db.sqlite.database_files import remove_database
from db.sqlite.errors import reading_rows
from db.sqlite.raw_connection import UNREADABLE
from db.sqlite.salvage_file import create_database, nothing_readable, open_damaged, readable_copy, schema_steps

Values = tuple[object, ...]
_YIELD_ROWS = 5000
_MIN_ROW_BYTES = 8
"""Least size of a row: limits the number of rows that a file can hold."""

_PROBES_PER_DOUBLING = 32
"""Number of probed ids between an id and twice that id."""

_MAX_FAILURES = 500_000
"""Failed reads of a table after which the rest of it is given up."""


def _whole(_new: sqlite3.Connection) -> list[str]:
    return ["true"]


def _by_first_byte(_new: sqlite3.Connection) -> list[str]:
    return [f"digest BETWEEN x'{byte:02x}' AND x'{byte:02x}{'ff' * 32}'" for byte in range(256)]


def _by_folder(new: sqlite3.Connection) -> list[str]:
    return [f"folder_id = {folder_id}" for (folder_id,) in new.execute("SELECT id FROM folders")]


def _by_image(new: sqlite3.Connection) -> list[str]:
    starts = new.execute("SELECT DISTINCT id / 500 * 500 FROM images")
    return [f"image_id BETWEEN {start} AND {start + 499}" for (start,) in starts]


@dataclass(frozen=True, slots=True)
class SalvageSource:
    """An index of the old database that holds copies of columns.

    - `query`: reads the index, in its order, with a condition.
    - `insert`: adds a table row, or the image of a restored file, if the table lacks it.
    - `parts`: returns the conditions, some of them from rows of the new database.

    Each part is read from both ends. Restored files are pending, so that the next run reads them.
    """

    query: str
    insert: str
    parts: Callable[[sqlite3.Connection], list[str]]


_INDEX_SOURCES = (
    SalvageSource(
        "SELECT id, path FROM folders INDEXED BY sqlite_autoindex_folders_1 WHERE {} ORDER BY path",
        "INSERT OR IGNORE INTO folders (id, path) VALUES (?, ?)",
        _whole,
    ),
    SalvageSource(
        "SELECT id, digest FROM images INDEXED BY sqlite_autoindex_images_1 WHERE {} ORDER BY digest",
        "INSERT OR IGNORE INTO images (id, digest, width, height, format) VALUES (?, ?, 0, 0, '')",
        _by_first_byte,
    ),
    SalvageSource(
        "SELECT id, folder_id, name FROM files INDEXED BY files_by_path WHERE {} ORDER BY name",
        "INSERT OR IGNORE INTO files (id, folder_id, name, size, mtime_ns, state, appeared_run_id) "
        "VALUES (?, ?, ?, 0, 0, 'pending', 0)",
        _by_folder,
    ),
    SalvageSource(
        "SELECT image_id, id FROM files INDEXED BY files_by_image WHERE {} ORDER BY image_id",
        "UPDATE files SET image_id = ? WHERE id = ? AND image_id IS NULL AND size = 0 AND state = 'pending'",
        _by_image,
    ),
    SalvageSource(
        "SELECT image_id, emotion FROM labels INDEXED BY labels_by_emotion WHERE {} ORDER BY emotion",
        "INSERT OR IGNORE INTO labels VALUES (?, ?, CAST(strftime('%s', 'now') AS REAL))",
        _whole,
    ),
)


def salvage(source: Path, target: Path, advance: Callable[[int], None]) -> dict[str, int]:
    """Copy every readable row of a damaged database to a new one.

    Returns the number of rows copied from each table; `advance` receives the number of rows of every chunk. The source, including
    its write-ahead log, is only read. Raises StoreDamaged if no file and no label can be read.
    """
    work = target.with_name(target.name + ".work")
    try:
        readable = readable_copy(source, work)
        create_database(target, schema_steps(readable, target))
        # The old database is read without a transaction: one unreadable page must not end the reading of others.
        with closing(sqlite3.connect(target, isolation_level=None)) as new, closing(open_damaged(readable)) as old:
            for pragma in ("foreign_keys=OFF", "synchronous=OFF", "cache_size=-65536"):
                new.execute(f"PRAGMA {pragma}")
            new.execute("BEGIN")
            with reading_rows(old):
                counts = _copy_all(old, new, advance)
            new.execute("COMMIT")
            if not count(new, "files") + count(new, "labels"):
                raise nothing_readable(source)
        return counts
    finally:
        remove_database(work)


def _copy_all(old: sqlite3.Connection, new: sqlite3.Connection, advance: Callable[[int], None]) -> dict[str, int]:
    """Copy what tables hold, then what only their indexes still know; return the number of rows copied from each table."""
    counts = {table: _copy(old, new, table, advance) for table in TABLES if table != "generations"}
    for index in _INDEX_SOURCES:
        for part in index.parts(new):
            for rows in _from_both_ends(old, index.query.format(part)):
                new.executemany(index.insert, rows)
    _keep_id_sequence(old, new)
    return counts


@dataclass(frozen=True, slots=True)
class _Table:
    """A table as it is read: its columns, the one of them that holds the row id, and the query of all rows."""

    name: str
    columns: tuple[str, ...]
    key: str

    @property
    def names(self) -> str:
        return ", ".join(f'"{column}"' for column in self.columns)

    @property
    def select(self) -> str:
        return f"SELECT {self.names} FROM {self.name} NOT INDEXED"

    @property
    def key_position(self) -> int:
        return self.columns.index(self.key)


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, name: str, advance: Callable[[int], None]) -> int:
    """Copy the rows of a table that can be read and satisfy its constraints; return their number."""
    described = new.execute(f"PRAGMA table_info({name})").fetchall()
    if not described:
        return 0  # a table of a later schema step
    (key,) = (row[1] for row in described if row[5])
    table = _Table(name, tuple(row[1] for row in described), key)
    insert = f"INSERT OR IGNORE INTO {name} ({table.names}) VALUES ({', '.join('?' * len(table.columns))})"
    for rows in _readable_rows(old, table):
        new.executemany(insert, rows)
        advance(len(rows))
    return int(new.execute(f"SELECT count(*) FROM {name}").fetchone()[0])


def _readable_rows(old: sqlite3.Connection, table: _Table) -> Iterator[list[Values]]:
    """Yield the rows of a table that can be read, skipping those that cannot."""
    key, position = table.key, table.key_position
    one_row, between = f"{table.select} WHERE {key} = ?", f"{table.select} WHERE {key} BETWEEN ? AND ? ORDER BY {key}"
    gaps, failures = [(1, _greatest_id(old, table))], 0
    if not _any_is_readable(old, one_row, gaps[0][1]):
        return
    while gaps and failures < _MAX_FAILURES:
        low, high = gaps.pop()
        if low == high:
            one = _Scan(old, one_row, (low,))
            yield from one
            failures += not one.complete
            continue
        forward = _Scan(old, between, (low, high), position)
        yield from forward
        if forward.complete:
            continue
        low = max(low, forward.last_id + 1)
        backward = _Scan(old, f"{between} DESC", (low, high), position)
        yield from backward
        high = min(high, backward.last_id - 1) if backward.last_id else high
        failures += 2
        if not backward.complete and low < high:
            middle = (low + high) // 2
            gaps += [(middle + 1, high), (low, middle)]
        elif not backward.complete and low == high:
            gaps.append((low, high))


def _any_is_readable(old: sqlite3.Connection, query: str, greatest: int) -> bool:
    """Return whether a search for ids succeeds anywhere: if a table's first page is bad, it fails for every id."""
    probe = 1
    while probe <= greatest:
        one = _Scan(old, query, (probe,))
        if any(one) or one.complete:
            return True
        probe += 1 + probe // _PROBES_PER_DOUBLING
    return False


class _Scan:
    """A query's rows up to the first that cannot be read.

    After the iteration, `complete` is True if all rows could be read; `last_id` is the id of the last one read, or 0.
    """

    def __init__(self, old: sqlite3.Connection, query: str, values: tuple[int, ...] = (), key_position: int = 0) -> None:
        self._old, self._query, self._values, self._key_position = old, query, values, key_position
        self.complete = False
        self.last_id = 0

    def __iter__(self) -> Iterator[list[Values]]:
        rows: list[Values] = []
        try:
            for row in self._old.execute(self._query, self._values):
                rows.append(row)
                if len(rows) == _YIELD_ROWS:
                    yield self._with_last_id(rows)
                    rows = []
            self.complete = True
        except UNREADABLE:
            pass
        yield self._with_last_id(rows)

    def _with_last_id(self, rows: list[Values]) -> list[Values]:
        if rows and isinstance(rows[-1][self._key_position], int):
            self.last_id = int(str(rows[-1][self._key_position]))
        return rows


def _greatest_id(old: sqlite3.Connection, table: _Table) -> int:
    """Return the greatest id that rows of a table can have."""
    (file_bytes,) = old.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()
    try:
        (found,) = old.execute(f"SELECT max({table.key}) FROM {table.name} NOT INDEXED").fetchone()
    except UNREADABLE:
        found = None
    return max(1, int(file_bytes) // _MIN_ROW_BYTES if found is None else int(found))


def _from_both_ends(old: sqlite3.Connection, query: str) -> Iterator[list[Values]]:
    """Yield the rows of a query before the first damage and, from the end, after the last."""
    forward = _Scan(old, query)
    yield from forward
    if not forward.complete:
        yield from _Scan(old, f"{query} DESC")


def _keep_id_sequence(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Keep ids of predictions from being used again, including those of lost ones."""
    found = [row for rows in _Scan(old, "SELECT seq FROM sqlite_sequence WHERE name = 'predictions'") for row in rows]
    if found and isinstance(found[0][0], int):
        new.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'predictions'", found[0])
