"""Reading what can be read of a damaged database into a new one, row by row.

A table is read from both ends towards the damage, then the gap is divided until single rows are left, so that a bad page costs
the rows on it and no others. What a table has lost of files, folders, digests and labels, its indexes may still know: they hold
copies.
"""

# ruff: noqa: S608  # what stands in the SQL is this module's own

from __future__ import annotations

import shutil
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from sqlalchemy import create_engine, text

from db.sqlite.check import TABLES, count
from db.sqlite.database_files import remove_database
from db.sqlite.errors import reading_rows
from db.sqlite.migrations import STEPS
from db.sqlite.raw_connection import UNREADABLE, columns_by_table, reading
from indexer.domain.errors import StoreDamaged

Values = tuple[object, ...]
_PAGE = 4096
_HEADER = 100
_INTERIOR = 0x05
_MOST_CUT = 1000
"""A header that says that a file was so many times as long is not believed."""

_AT_ONCE = 5000
_FEWEST_BYTES = 8
"""No row is smaller: so many rows a file can have at most."""

_DENSE = 32
"""Places where a table is tried, between one number and its double."""

_FAILURES = 500_000
"""Failed attempts at a table after which the rest of it is given up."""


def _at_once(_new: sqlite3.Connection) -> list[str]:
    return ["true"]


def _by_first_byte(_new: sqlite3.Connection) -> list[str]:
    return [f"digest BETWEEN x'{byte:02x}' AND x'{byte:02x}{'ff' * 32}'" for byte in range(256)]


def _by_folder(new: sqlite3.Connection) -> list[str]:
    return [f"folder_id = {number}" for (number,) in new.execute("SELECT id FROM folders")]


def _by_picture(new: sqlite3.Connection) -> list[str]:
    starts = new.execute("SELECT DISTINCT id / 500 * 500 FROM images")
    return [f"image_id BETWEEN {start} AND {start + 499}" for (start,) in starts]


_FROM_INDEXES: tuple[tuple[str, str, Callable[[sqlite3.Connection], list[str]]], ...] = (
    (
        "SELECT id, path FROM folders INDEXED BY sqlite_autoindex_folders_1 WHERE {} ORDER BY path",
        "INSERT OR IGNORE INTO folders (id, path) VALUES (?, ?)",
        _at_once,
    ),
    (
        "SELECT id, digest FROM images INDEXED BY sqlite_autoindex_images_1 WHERE {} ORDER BY digest",
        "INSERT OR IGNORE INTO images VALUES (?, ?, 0, 0, '')",
        _by_first_byte,
    ),
    (
        "SELECT id, folder_id, name FROM files INDEXED BY files_by_path WHERE {} ORDER BY name",
        "INSERT OR IGNORE INTO files (id, folder_id, name, size, mtime_ns, state, appeared_run_id) "
        "VALUES (?, ?, ?, 0, 0, 'pending', 0)",
        _by_folder,
    ),
    (
        "SELECT image_id, id FROM files INDEXED BY files_by_image WHERE {} ORDER BY image_id",
        "UPDATE files SET image_id = ? WHERE id = ? AND image_id IS NULL AND size = 0 AND state = 'pending'",
        _by_picture,
    ),
    (
        "SELECT image_id, emotion FROM labels INDEXED BY labels_by_emotion WHERE {} ORDER BY emotion",
        f"INSERT OR IGNORE INTO labels VALUES (?, ?, {time.time():.0f})",
        _at_once,
    ),
)
"""What indexes know of rows, how it becomes one where the table had none, and the parts in which they are read, each from both
ends, as the new database knows them. Files found so wait to be read again.
"""


def salvage(source: Path, target: Path, advance: Callable[[int], None]) -> dict[str, int]:
    """Write what can be read of a damaged database to a new one; how many rows of each table. `advance` hears of rows.

    Only reads the source; its write-ahead log is read with it. Raises StoreDamaged where nothing can be read.
    """
    work = target.with_name(target.name + ".work")
    try:
        readable = _opened(source, work)
        _make(target, _steps(readable, target))
        # No transaction over all of it: what was read so far is no less true for what comes.
        with closing(sqlite3.connect(target, isolation_level=None)) as new, closing(_bare(readable)) as old:
            for pragma in ("foreign_keys=OFF", "synchronous=OFF", "cache_size=-65536"):
                new.execute(f"PRAGMA {pragma}")
            new.execute("BEGIN")
            with reading_rows(old):
                counts = _copy_all(old, new, advance)
            new.execute("COMMIT")
            if not count(new, "files") + count(new, "labels"):
                raise _nothing(source)
        return counts
    finally:
        remove_database(work)


def _copy_all(old: sqlite3.Connection, new: sqlite3.Connection, advance: Callable[[int], None]) -> dict[str, int]:
    """Copy what tables hold, then what only their indexes still know; return the number of rows copied from each table."""
    counts = {table: _copy(old, new, table, advance) for table in TABLES if table != "generations"}
    for query, insert, parts in _FROM_INDEXES:
        for part in parts(new):
            for rows in _from_both_ends(old, query.format(part)):
                new.executemany(insert, rows)
    _keep_sequence(old, new)
    return counts


def _opened(source: Path, work: Path) -> Path:
    """The source, if SQLite can find its tables in it, else a copy, `work`, of full length, with a new header or a new schema."""
    if _has_tables(source):
        return source
    shutil.copyfile(source, work)
    log = source.with_name(source.name + "-wal")
    if log.exists():
        shutil.copyfile(log, work.with_name(work.name + "-wal"))
    if work.stat().st_size >= _PAGE:
        fresh = _fresh_pages(work)
        pages = _padded(work, len(fresh))
        header = _header(fresh[0], pages)
        for parts in ({}, {0: header}, {**_schema_pages(fresh), 0: header + fresh[0][_HEADER:]}):
            with work.open("r+b") as file:
                for number, content in parts.items():
                    file.seek(number * _PAGE)
                    file.write(content)
            if _has_tables(work) and (len(parts) < 2 or _roots_fit(work)):
                return work
    raise _nothing(source)


def _nothing(source: Path) -> StoreDamaged:
    return StoreDamaged(
        f"Nothing can be read of the database {source}. Nothing was changed; bring back a backup with moodex restore, or move it "
        "away and index again."
    )


def _has_tables(path: Path) -> bool:
    try:
        with reading(path) as connection:
            found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            return set(TABLES) <= found or {"files", "folders", "migrations"} <= found
    except UNREADABLE:
        return False


def _fresh_pages(work: Path) -> list[bytes]:
    """The pages of a new database: its tables begin where those of any that was made by this program do."""
    fresh = work.with_name(work.name + ".fresh")
    try:
        _make(fresh, len(STEPS))
        data = fresh.read_bytes()
    finally:
        fresh.unlink(missing_ok=True)
    return [data[start : start + _PAGE] for start in range(0, len(data), _PAGE)]


def _padded(work: Path, fewest: int) -> int:
    """Give a file that was cut off the length that it had, as far as that is known; how many pages that is."""
    with work.open("r+b") as file:
        head = file.read(_HEADER)
        size = file.seek(0, 2)
        meant = struct.unpack(">I", head[28:32])[0] if head.startswith(b"SQLite format 3") else 0
        pages = max(-(-size // _PAGE), fewest, meant if meant * _PAGE < size * _MOST_CUT else 0)
        file.truncate(pages * _PAGE)
    return pages


def _header(first: bytes, pages: int) -> bytes:
    """The first bytes of a database of so many pages; see "The Database Header" in SQLite's file format."""
    header = bytearray(first[:_HEADER])
    header[18:20] = b"\x02\x02"  # with a write-ahead log
    header[28:40] = struct.pack(">III", pages, 0, 0)  # no free pages
    header[92:96] = header[24:28]  # the number of pages belongs to this version of the file
    return bytes(header)


def _schema_pages(fresh: list[bytes]) -> dict[int, bytes]:
    """The pages below the first one that hold the schema, by number from 0."""
    first = fresh[0]
    if first[_HEADER] != _INTERIOR:
        return {}
    count = struct.unpack(">H", first[_HEADER + 3 : _HEADER + 5])[0]
    places = struct.unpack(f">{count}H", first[_HEADER + 12 : _HEADER + 12 + 2 * count])
    children = [struct.unpack(">I", first[place : place + 4])[0] for place in (*places, _HEADER + 8)]
    return {child - 1: fresh[child - 1] for child in children}


def _roots_fit(work: Path) -> bool:
    """Whether no page that the schema names is sound, but of a kind that it does not take it for."""
    kinds = {"table": (0x02, 0x0A), "index": (0x05, 0x0D)}
    with reading(work) as connection, reading_rows(connection), work.open("rb") as file:
        for kind, page in connection.execute("SELECT type, rootpage FROM sqlite_master WHERE rootpage > 1"):
            file.seek((page - 1) * _PAGE)
            if file.read(1)[0] in kinds[kind]:
                return False
    return True


def _steps(path: Path, target: Path) -> int:
    """The number of the latest step of the schema that has every column of a database: what it says itself may be damaged."""
    there = _columns(path)
    for steps in range(len(STEPS), 0, -1):
        _make(target, steps)
        known = _columns(target)
        target.unlink()
        if all(columns <= known.get(table, set()) for table, columns in there.items() if table in TABLES):
            return steps
    return len(STEPS)


def _columns(path: Path) -> dict[str, set[str]]:
    with closing(_bare(path)) as connection:
        return columns_by_table(connection)


def _make(path: Path, steps: int) -> None:
    """A new database with the first steps of the schema, all at once."""
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(path, isolation_level=None))
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA synchronous=OFF")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            connection.execute(text("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at REAL NOT NULL)"))
            for name, step in STEPS[:steps]:
                step(connection)
                connection.execute(text("INSERT INTO migrations VALUES (:name, :now)"), {"name": name, "now": time.time()})
            connection.exec_driver_sql("COMMIT")
    finally:
        engine.dispose()


def _bare(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=30)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.execute("PRAGMA cell_size_check=ON")
    return connection


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, table: str, advance: Callable[[int], None]) -> int:
    """Copy the rows of a table that can be read and break no rule; how many."""
    described = new.execute(f"PRAGMA table_info({table})").fetchall()
    if not described:
        return 0  # a table of a later step
    columns = [row[1] for row in described]
    (key,) = (row[1] for row in described if row[5])
    names = ", ".join(f'"{column}"' for column in columns)
    insert = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})"
    position = columns.index(key)
    for rows in _rows(old, f"SELECT {names} FROM {table} NOT INDEXED", table, (key, position)):
        new.executemany(insert, rows)
        advance(len(rows))
    return int(new.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _rows(old: sqlite3.Connection, select: str, table: str, key: tuple[str, int]) -> Iterator[list[Values]]:
    """The rows of a table that can be read, around those that cannot."""
    name, position = key
    gaps, failures = [(1, _greatest(old, table, name))], 0
    if not _any_is_readable(old, f"{select} WHERE {name} = ?", gaps[0][1]):
        return
    while gaps and failures < _FAILURES:
        low, high = gaps.pop()
        if low == high:
            one = _Reading(old, f"{select} WHERE {name} = ?", (low,))
            yield from one
            failures += not one.whole
            continue
        forth = _Reading(old, f"{select} WHERE {name} BETWEEN ? AND ? ORDER BY {name}", (low, high), position)
        yield from forth
        if forth.whole:
            continue
        low = max(low, forth.last + 1)
        back = _Reading(old, f"{select} WHERE {name} BETWEEN ? AND ? ORDER BY {name} DESC", (low, high), position)
        yield from back
        high = min(high, back.last - 1) if back.last else high
        failures += 2
        if not back.whole and low < high:
            middle = (low + high) // 2
            gaps += [(middle + 1, high), (low, middle)]
        elif not back.whole and low == high:
            gaps.append((low, high))


def _any_is_readable(old: sqlite3.Connection, query: str, high: int) -> bool:
    """Whether rows can be looked for at all: where a table's first page is bad, every place of it is, and no search will help."""
    place = 1
    while place <= high:
        one = _Reading(old, query, (place,))
        if any(one) or one.whole:
            return True
        place += 1 + place // _DENSE
    return False


class _Reading:
    """A query's rows up to the first that cannot be read. Then `whole` says whether there was none such, and `last` is the id of
    the last that was read, 0 where there was none.
    """

    def __init__(self, old: sqlite3.Connection, query: str, values: tuple[int, ...] = (), position: int = 0) -> None:
        self._old, self._query, self._values, self._position = old, query, values, position
        self.whole = False
        self.last = 0

    def __iter__(self) -> Iterator[list[Values]]:
        rows: list[Values] = []
        try:
            for row in self._old.execute(self._query, self._values):
                rows.append(row)
                if len(rows) == _AT_ONCE:
                    yield self._noted(rows)
                    rows = []
            self.whole = True
        except UNREADABLE:
            pass
        yield self._noted(rows)

    def _noted(self, rows: list[Values]) -> list[Values]:
        if rows and isinstance(rows[-1][self._position], int):
            self.last = int(str(rows[-1][self._position]))
        return rows


def _greatest(old: sqlite3.Connection, table: str, key: str) -> int:
    """The greatest id that rows of a table may have."""
    (most,) = old.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()
    try:
        (found,) = old.execute(f"SELECT max({key}) FROM {table} NOT INDEXED").fetchone()
    except UNREADABLE:
        found = None
    return max(1, int(most) // _FEWEST_BYTES if found is None else int(found))


def _from_both_ends(old: sqlite3.Connection, query: str) -> Iterator[list[Values]]:
    """The rows of a query before its first damage and, from the end, after its last."""
    forth = _Reading(old, query)
    yield from forth
    if not forth.whole:
        yield from _Reading(old, f"{query} DESC")


def _keep_sequence(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Ids of predictions are never used again, those of lost ones included."""
    found = [row for rows in _Reading(old, "SELECT seq FROM sqlite_sequence WHERE name = 'predictions'") for row in rows]
    if found and isinstance(found[0][0], int):
        new.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'predictions'", found[0])
