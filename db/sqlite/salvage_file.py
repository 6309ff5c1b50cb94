"""Make a damaged database file one that SQLite can open: length, header and schema as moodex writes them."""

from __future__ import annotations

import shutil
import sqlite3
import struct
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import create_engine, text

from db.sqlite.check import TABLES
from db.sqlite.errors import reading_rows
from db.sqlite.migrations import STEPS
from db.sqlite.raw_connection import UNREADABLE, columns_by_table, reading
from indexer.domain.errors import StoreDamaged

_PAGE_BYTES = 4096
_HEADER_BYTES = 100
_INTERIOR_PAGE = 0x05
_MAX_GROWTH = 1000
"""Largest credible ratio of the size that a header claims to the actual size."""


def readable_copy(source: Path, work: Path) -> Path:
    """Return the source, if SQLite finds its tables, else a copy at `work` of full length with a new header or schema.

    Raises StoreDamaged if SQLite finds no tables in any of them.
    """
    if _has_tables(source):
        return source
    shutil.copyfile(source, work)
    log = source.with_name(source.name + "-wal")
    if log.exists():
        shutil.copyfile(log, work.with_name(work.name + "-wal"))
    if work.stat().st_size >= _PAGE_BYTES:
        fresh = _fresh_pages(work)
        pages = _restore_length(work, len(fresh))
        header = _new_header(fresh[0], pages)
        for parts in ({}, {0: header}, {**_schema_pages(fresh), 0: header + fresh[0][_HEADER_BYTES:]}):
            with work.open("r+b") as file:
                for number, content in parts.items():
                    file.seek(number * _PAGE_BYTES)
                    file.write(content)
            if _has_tables(work) and (len(parts) < 2 or _roots_fit(work)):
                return work
    raise nothing_readable(source)


def nothing_readable(source: Path) -> StoreDamaged:
    """Return the error for a database of which nothing can be read."""
    return StoreDamaged(
        f"Nothing can be read of the database {source}. Nothing was changed; restore a backup with moodex restore, or move it "
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
    """Return the pages of a new database: moodex creates tables in one order, so they begin at the same pages."""
    fresh = work.with_name(work.name + ".fresh")
    try:
        create_database(fresh, len(STEPS))
        data = fresh.read_bytes()
    finally:
        fresh.unlink(missing_ok=True)
    return [data[start : start + _PAGE_BYTES] for start in range(0, len(data), _PAGE_BYTES)]


def _restore_length(work: Path, min_pages: int) -> int:
    """Extend a truncated file to its former length, as far as that is known; return its number of pages."""
    with work.open("r+b") as file:
        head = file.read(_HEADER_BYTES)
        size = file.seek(0, 2)
        claimed = struct.unpack(">I", head[28:32])[0] if head.startswith(b"SQLite format 3") else 0
        pages = max(-(-size // _PAGE_BYTES), min_pages, claimed if claimed * _PAGE_BYTES < size * _MAX_GROWTH else 0)
        file.truncate(pages * _PAGE_BYTES)
    return pages


def _new_header(first: bytes, pages: int) -> bytes:
    """Return the header of a database of `pages` pages; see "The Database Header" in SQLite's file format."""
    header = bytearray(first[:_HEADER_BYTES])
    header[18:20] = b"\x02\x02"  # with a write-ahead log
    header[28:40] = struct.pack(">III", pages, 0, 0)  # no free pages
    header[92:96] = header[24:28]  # the number of pages belongs to this version of the file
    return bytes(header)


def _schema_pages(fresh: list[bytes]) -> dict[int, bytes]:
    """Return the pages that hold the schema, except the first, by number from 0."""
    first = fresh[0]
    if first[_HEADER_BYTES] != _INTERIOR_PAGE:
        return {}
    cells = struct.unpack(">H", first[_HEADER_BYTES + 3 : _HEADER_BYTES + 5])[0]
    offsets = struct.unpack(f">{cells}H", first[_HEADER_BYTES + 12 : _HEADER_BYTES + 12 + 2 * cells])
    children = [struct.unpack(">I", first[offset : offset + 4])[0] for offset in (*offsets, _HEADER_BYTES + 8)]
    return {child - 1: fresh[child - 1] for child in children}


def _roots_fit(work: Path) -> bool:
    """Return whether each root page has the type that the schema says; a damaged page, of no known type, is accepted."""
    kinds = {"table": (0x02, 0x0A), "index": (0x05, 0x0D)}
    with reading(work) as connection, reading_rows(connection), work.open("rb") as file:
        for kind, page in connection.execute("SELECT type, rootpage FROM sqlite_master WHERE rootpage > 1"):
            file.seek((page - 1) * _PAGE_BYTES)
            if file.read(1)[0] in kinds[kind]:
                return False
    return True


def schema_steps(path: Path, target: Path) -> int:
    """Return the number of the latest schema step that has every column of a database. Its own record may be damaged."""
    columns = _columns(path)
    for steps in range(len(STEPS), 0, -1):
        create_database(target, steps)
        known = _columns(target)
        target.unlink()
        if all(names <= known.get(table, set()) for table, names in columns.items() if table in TABLES):
            return steps
    return len(STEPS)


def _columns(path: Path) -> dict[str, set[str]]:
    with closing(open_damaged(path)) as connection:
        return columns_by_table(connection)


def create_database(path: Path, steps: int) -> None:
    """Create a database with the first `steps` steps of the schema, in one transaction."""
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


def open_damaged(path: Path) -> sqlite3.Connection:
    """Open a damaged database for reading, outside any transaction. Bytes that are not UTF-8 are replaced in its texts."""
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, timeout=30)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.execute("PRAGMA cell_size_check=ON")
    return connection
