"""Reading what can be read of a damaged database into a new one, row by row.

A table is read from both ends towards the damage, then the gap is divided until single rows are left, so that a bad page costs the
rows on it and no others. What a table has lost of files, folders, digests and labels, its indexes may still know: they hold copies.
"""

from __future__ import annotations

import shutil
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from sqlalchemy import create_engine, text

from db.examine import TABLES
from db.migrations import STEPS
from db.raw import reading
from indexer.errors import StoreDamaged

Values = tuple[object, ...]
_PAGE = 4096
_HEADER = 100
_AT_ONCE = 5000
_FEWEST_BYTES = 8
"""No row is smaller: so many rows a file can have at most."""

_FAILURES = 500_000
"""Failed attempts at a table after which the rest of it is given up."""

_FROM_INDEXES = (
    ("SELECT id, path FROM folders INDEXED BY sqlite_autoindex_folders_1 ORDER BY path", "INSERT OR IGNORE INTO folders VALUES (?, ?)"),
    (
        "SELECT id, digest FROM images INDEXED BY sqlite_autoindex_images_1 ORDER BY digest",
        "INSERT OR IGNORE INTO images VALUES (?, ?, 0, 0, '')",
    ),
    (
        "SELECT id, folder_id, name FROM files INDEXED BY files_by_path ORDER BY folder_id, name",
        "INSERT OR IGNORE INTO files VALUES (?, ?, ?, 0, 0, 'pending', NULL, NULL, NULL, 0)",
    ),
    (
        "SELECT image_id, id FROM files INDEXED BY files_by_image WHERE image_id IS NOT NULL ORDER BY image_id",
        "UPDATE files SET image_id = ? WHERE id = ? AND image_id IS NULL AND size = 0 AND state = 'pending'",
    ),
    (
        "SELECT image_id, emotion FROM labels INDEXED BY labels_by_emotion ORDER BY emotion",
        f"INSERT OR IGNORE INTO labels VALUES (?, ?, {time.time():.0f})",
    ),
)
"""What indexes know of rows, and how it becomes one where the table had none. Files found so wait to be read again."""


def recover(source: Path, target: Path, advance: Callable[[int], None]) -> dict[str, int]:
    """Write what can be read of a damaged database to a new one; how many rows of each table. `advance` hears of rows.

    Only reads the source; its write-ahead log is read with it. Raises StoreDamaged where nothing can be read.
    """
    work = target.with_name(target.name + ".work")
    try:
        readable = _opened(source, work)
        _make(target, _steps(readable))
        # No transaction over all of it: what was read so far is no less true for what comes.
        with closing(sqlite3.connect(target, isolation_level=None)) as new, closing(_bare(readable)) as old:
            for pragma in ("foreign_keys=OFF", "synchronous=OFF", "cache_size=-65536"):
                new.execute(f"PRAGMA {pragma}")
            new.execute("BEGIN")
            counts = {table: _copy(old, new, table, advance) for table in TABLES if table != "generations"}
            for query, insert in _FROM_INDEXES:
                for rows in _from_both_ends(old, query):
                    new.executemany(insert, rows)
            _keep_sequence(old, new)
            new.execute("COMMIT")
        return counts
    finally:
        for part in (work, *(work.with_name(work.name + end) for end in ("-wal", "-shm"))):
            part.unlink(missing_ok=True)


def _opened(source: Path, work: Path) -> Path:
    """The source, if SQLite can find its tables in it, else a copy, `work`, with a new header, or a new first page."""
    if _has_tables(source):
        return source
    shutil.copyfile(source, work)
    for end in ("-wal",):
        if source.with_name(source.name + end).exists():
            shutil.copyfile(source.with_name(source.name + end), work.with_name(work.name + end))
    pages = work.stat().st_size // _PAGE
    if pages:
        first = _first_page(work, pages)
        for size in (_HEADER, _PAGE):
            with work.open("r+b") as file:
                file.write(first[:size])
            if _has_tables(work) and (size == _HEADER or _roots_fit(work)):
                return work
    raise StoreDamaged(
        f"Nothing can be read of the database {source}. Nothing was changed; bring back a backup with moodex restore, or move it "
        "away and index again."
    )


def _has_tables(path: Path) -> bool:
    try:
        with reading(path) as connection:
            found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            return {"files", "folders", "images"} <= found
    except sqlite3.DatabaseError:
        return False


def _first_page(work: Path, pages: int) -> bytes:
    """The first page of a new database: its tables begin where those of any that was made by this program do."""
    fresh = work.with_name(work.name + ".fresh")
    try:
        _make(fresh, None)
        page = bytearray(fresh.read_bytes()[:_PAGE])
    finally:
        fresh.unlink(missing_ok=True)
    # Size in pages, no free pages; see "The Database Header" in SQLite's file format.
    page[28:40] = struct.pack(">III", pages, 0, 0)
    page[92:96] = page[24:28]  # the size is valid for this version of the file
    page[18:20] = b"\x02\x02"  # with a write-ahead log
    return bytes(page)


def _roots_fit(work: Path) -> bool:
    """Whether the pages that the schema names are the kind of page that it takes them for."""
    data = work.read_bytes()
    kinds = {"table": (0x05, 0x0D), "index": (0x02, 0x0A)}
    with reading(work) as connection:
        roots = connection.execute("SELECT type, rootpage FROM sqlite_master WHERE rootpage > 1").fetchall()
    places = [(kinds[kind], (page - 1) * _PAGE) for kind, page in roots]
    return all(place < len(data) and data[place] in fitting for fitting, place in places)


def _steps(path: Path) -> set[str] | None:
    """The steps of the schema that a database has had; None, for all of them, where that cannot be read."""
    known = {name for name, _ in STEPS}
    try:
        with reading(path) as connection:
            had = {name for (name,) in connection.execute("SELECT name FROM migrations")} & known
            return had if STEPS[0][0] in had else None
    except sqlite3.DatabaseError:
        return None


def _make(path: Path, steps: set[str] | None) -> None:
    """A new database with some steps of the schema, all at once."""
    engine = create_engine(f"sqlite:///{path}")
    try:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at REAL NOT NULL)"))
            for name, step in STEPS:
                if steps is None or name in steps:
                    step(connection)
                    connection.execute(text("INSERT INTO migrations VALUES (:name, :now)"), {"name": name, "now": time.time()})
    finally:
        engine.dispose()


def _bare(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=30)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.execute("PRAGMA cell_size_check=ON")
    return connection


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, table: str, advance: Callable[[int], None]) -> int:
    """Copy the rows of a table that can be read and break no rule; how many."""
    if not (columns := [row[1] for row in new.execute(f"PRAGMA table_info({table})")]):
        return 0  # a table of a later step
    key = "image_id" if table == "labels" else "id"
    names = ", ".join(f'"{column}"' for column in columns)
    insert = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608
    position = columns.index(key)
    for rows in _rows(old, f"SELECT {names} FROM {table} NOT INDEXED", table, (key, position)):  # noqa: S608
        new.executemany(insert, rows)
        advance(len(rows))
    return int(new.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608


def _rows(old: sqlite3.Connection, select: str, table: str, key: tuple[str, int]) -> Iterator[list[Values]]:
    """The rows of a table that can be read, around those that cannot."""
    name, position = key
    gaps, failures = [(1, _greatest(old, table, name))], 0
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


class _Reading:
    """A query's rows up to the first that cannot be read. Then `whole` says whether there was none such, and `last` is the id of the
    last that was read, 0 where there was none.
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
        except sqlite3.DatabaseError:
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
        (found,) = old.execute(f"SELECT max({key}) FROM {table} NOT INDEXED").fetchone()  # noqa: S608
    except sqlite3.DatabaseError:
        found = None
    return max(1, int(most) // _FEWEST_BYTES if found is None else int(found))


def _from_both_ends(old: sqlite3.Connection, query: str) -> Iterator[list[Values]]:
    """The rows of a query before its first damage and, from the end, after its last."""
    forth = _Reading(old, query)
    yield from forth
    if not forth.whole:
        # Every column descends, as the index read backwards does: sorting would have to read all of it first.
        yield from _Reading(old, query.replace("ORDER BY folder_id, name", "ORDER BY folder_id DESC, name") + " DESC")


def _keep_sequence(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Ids of predictions are never used again, those of lost ones included."""
    found = [row for rows in _Reading(old, "SELECT seq FROM sqlite_sequence WHERE name = 'predictions'") for row in rows]
    if found and isinstance(found[0][0], int):
        new.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'predictions'", found[0])
