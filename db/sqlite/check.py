"""Integrity checks of a database: its pages, its references, and the invariants of its rows.

Everything is read in one transaction; nothing is written.
"""

# ruff: noqa: S608  # names in the SQL are constants of this module

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from db.sqlite.check_values import broken_embeddings, broken_predictions
from db.sqlite.errors import reading_rows
from db.sqlite.model_rows import stored_cards
from db.sqlite.raw_connection import UNREADABLE
from indexer.domain.health import Finding

TABLES = (
    "folders", "roots", "images", "embedders", "finders", "models", "runs", "run_models", "jobs", "files", "labels", "hidden",
    "predictions", "embeddings", "generations", "tags", "image_tags"
)  # fmt: skip
"""Every table that has data, after the tables that it refers to."""

_MAX_LINES = 1000
_INDEX_LINES = (" from index ", "in index ", "entries in index")
"""Parts of lines of PRAGMA integrity_check that are about indexes alone: it reports in English text only."""

_REPORTED_BY_QUERIES = "CHECK constraint failed"
"""The queries below find such rows as well and describe them better."""

BAD_STATE = (
    "state NOT IN ('done', 'failed', 'pending', 'gone') OR (state = 'done' AND image_id IS NULL) "
    "OR (state = 'failed') != (failure_kind IS NOT NULL)"
)
UNREAD = "width = 0 AND height = 0"
BAD_IMAGE = (
    f"length(digest) != 32 OR ((width <= 0 OR height <= 0) AND NOT ({UNREAD} AND id NOT IN (SELECT image_id FROM predictions)))"
)
MISPLACED = "p.digest_start IS NULL OR p.digest_start != substr(i.digest, 1, 16)"
NO_EMBEDDING = (
    "NOT EXISTS (SELECT 1 FROM embeddings e "
    "WHERE e.embedder_id = m.embedder_id AND e.image_id = p.image_id AND e.region = p.region)"
)
NO_PREDICTION = (
    "NOT EXISTS (SELECT 1 FROM predictions p JOIN models m ON m.id = p.model_id "
    "WHERE p.image_id = embeddings.image_id AND p.region = embeddings.region AND m.embedder_id = embeddings.embedder_id)"
)
BAD_REGIONS = (
    "SELECT image_id, model_id FROM predictions GROUP BY image_id, model_id "
    "HAVING count(*) > 1 AND min(region) < 1 OR min(region) NOT IN (0, 1) OR min(region) = 1 AND max(region) != count(*)"
)

COUNT_QUERIES: Mapping[str, str] = {
    "files_contradictory": f"SELECT count(*), min(id), 'files' FROM files WHERE {BAD_STATE}",
    "pictures_broken": f"SELECT count(*), min(id), 'images' FROM images WHERE {BAD_IMAGE}",
    "predictions_alone": f"SELECT count(*), min(p.image_id), 'images' FROM predictions p JOIN models m ON m.id = p.model_id "
    f"WHERE {NO_EMBEDDING}",
    "predictions_misplaced": "SELECT count(*), min(p.image_id), 'images' FROM predictions p JOIN images i ON i.id = p.image_id "
    f"WHERE {MISPLACED}",
    "regions": f"SELECT count(*), min(image_id), 'images' FROM ({BAD_REGIONS})",
    "labels_broken": "SELECT count(*), min(image_id), 'images' FROM labels WHERE typeof(emotion) != 'text' OR trim(emotion) = ''",
    "embeddings_unused": f"SELECT count(*), min(image_id), 'images' FROM embeddings WHERE {NO_PREDICTION}",
    "pictures_unfiled": "SELECT count(*), min(id), 'images' FROM images WHERE id NOT IN "
    "(SELECT image_id FROM files WHERE image_id IS NOT NULL) "
    "AND id NOT IN (SELECT image_id FROM labels UNION SELECT image_id FROM hidden)",
    "pictures_unread": f"SELECT count(*), min(id), 'images' FROM images WHERE {UNREAD} "
    "AND id NOT IN (SELECT image_id FROM predictions)",
    "generations": "SELECT count(*), min(id), 'models' FROM models m WHERE "
    "(SELECT max(id) FROM predictions p WHERE p.model_id = m.id) > "
    "coalesce((SELECT max(last_prediction_id) FROM generations g WHERE g.model_id = m.id), 0)",
}
"""For each kind of finding, the query of its number, the id of an example, and the table of the example."""


def count_rows(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the number of rows of each table, except tables that cannot be counted."""
    counts = {}
    for table in TABLES:
        try:
            counts[table] = int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
        except UNREADABLE:
            continue
    return counts


def examine(connection: sqlite3.Connection, alive: int | None, advance: Callable[[int], None]) -> Iterator[Finding]:
    """Yield everything that is wrong in a database.

    `alive` is the process id of the present writer, if there is one. `advance` receives numbers of rows: each row of the tables
    of `count_rows` twice, predictions and embeddings once more. If pages are damaged, the rest is checked as far as it can be
    read. Raises StoreDamaged for values that cannot be unpacked.
    """
    damaged = False
    for finding in (*structure(connection, advance), *_references(connection)):
        damaged = damaged or finding.kind in ("pages", "unreadable")
        yield finding
    checks = (
        _models(connection),
        *(_counted(connection, kind, query) for kind, query in COUNT_QUERIES.items()),
        _predictions(connection, advance),
        _embeddings(connection, advance),
        _runs(connection, alive),
    )
    for check in checks:
        try:
            with reading_rows(connection):
                yield from check
        except UNREADABLE as error:
            if not damaged:
                damaged = True
                yield Finding("pages", 1, str(error))


def structure(connection: sqlite3.Connection, advance: Callable[[int], None]) -> list[Finding]:
    """Return what SQLite finds wrong with pages and indexes, by table, and with the file as a whole."""
    lines: list[str] = []
    try:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        if missing := [table for table in TABLES if table not in tables]:
            return [Finding("unreadable", 1, f"it has no table {missing[0]!r}")]
        for table in tables:
            lines += [line for (line,) in connection.execute(f"PRAGMA integrity_check({table})")][:_MAX_LINES]
            if table in TABLES:
                advance(count(connection, table))
        # This checks what belongs to no table: the list of free pages, and pages used twice.
        lines += [line for (line,) in connection.execute(f"PRAGMA quick_check({_MAX_LINES})")]
        advance(sum(count(connection, table) for table in TABLES))
    except UNREADABLE as error:
        lines.append(str(error))
    lines = list(dict.fromkeys(line for line in lines if line != "ok" and not line.startswith(_REPORTED_BY_QUERIES)))
    wrong = [line for line in lines if any(part in line for part in _INDEX_LINES) and "non-unique" not in line]
    pages = [line for line in lines if line not in wrong]
    found = [Finding("pages", len(pages), _plain(pages[0]))] if pages else []
    return [*found, Finding("indexes", len(wrong), wrong[0])] if wrong else found


def count(connection: sqlite3.Connection, table: str) -> int:
    """Return the number of rows of a table; 0 if they cannot be counted."""
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    except UNREADABLE:
        return 0


def place_of(connection: sqlite3.Connection, image_id: int) -> str:
    """Return the path of an image, or the beginning of its id if it has no file."""
    row = connection.execute(
        "SELECT folders.path, files.name FROM files JOIN folders ON folders.id = files.folder_id WHERE image_id = ? LIMIT 1",
        (image_id,),
    ).fetchone()
    if row is not None:
        return _path(*row)
    row = connection.execute("SELECT digest FROM images WHERE id = ?", (image_id,)).fetchone()
    return f"image {row[0].hex()[:8]}" if row and isinstance(row[0], bytes) else f"image number {image_id}"


def _counted(connection: sqlite3.Connection, kind: str, query: str) -> Iterator[Finding]:
    number, first, table = connection.execute(query).fetchone()
    if number:
        yield Finding(kind, number, _example(connection, table, first))


def _example(connection: sqlite3.Connection, table: str, row: int) -> str:
    if table == "images":
        return place_of(connection, row)
    if table == "models":
        return str(connection.execute("SELECT name FROM models WHERE id = ?", (row,)).fetchone()[0])
    query = "SELECT folders.path, files.name FROM files JOIN folders ON folders.id = files.folder_id WHERE files.id = ?"
    found = connection.execute(query, (row,)).fetchone()
    return f"file number {row}" if found is None else _path(*found)


def _path(folder: object, name: object) -> str:
    if isinstance(folder, bytes) and isinstance(name, bytes):
        return os.fsdecode(os.path.join(folder, name))
    return f"{folder!r}/{name!r}"


def _references(connection: sqlite3.Connection) -> Iterator[Finding]:
    broken: Counter[tuple[str, str]] = Counter()
    try:
        for table, _row, parent, _number in connection.execute("PRAGMA foreign_key_check"):
            broken[(table, parent)] += 1
    except UNREADABLE:
        return  # `structure` reports the damaged pages
    if broken:
        table, parent = next(iter(broken))
        yield Finding("references", broken.total(), f"in {table}, of {parent}")


def _models(connection: sqlite3.Connection) -> Iterator[Finding]:
    bad = [number for number, card in stored_cards(connection).items() if card is None]
    if bad:
        yield Finding("models_broken", len(bad), f"model number {bad[0]}")


def _predictions(connection: sqlite3.Connection, advance: Callable[[int], None]) -> Iterator[Finding]:
    counts: Counter[str] = Counter()
    first: dict[str, int] = {}
    for portion in broken_predictions(connection, stored_cards(connection), advance):
        for one in portion:
            kind = "predictions_broken" if one.emotion is None else "emotions"
            counts[kind] += 1
            first.setdefault(kind, one.image_id)
    for kind, number in counts.items():
        yield Finding(kind, number, place_of(connection, first[kind]))


def _embeddings(connection: sqlite3.Connection, advance: Callable[[int], None]) -> Iterator[Finding]:
    number, first = 0, 0
    for portion in broken_embeddings(connection, stored_cards(connection), advance):
        first = first or portion[0].image_id
        number += len(portion)
    if number:
        yield Finding("embeddings_broken", number, place_of(connection, first))


def _runs(connection: sqlite3.Connection, alive: int | None) -> Iterator[Finding]:
    query = (
        "SELECT count(*), max(datetime(started_at, 'unixepoch', 'localtime')) FROM runs "
        "WHERE outcome = 'running' AND pid IS NOT ?"
    )
    number, latest = connection.execute(query, (alive,)).fetchone()
    if number:
        yield Finding("runs_died", number, f"the one of {latest}")


def _plain(line: str) -> str:
    """Return a line of SQLite without its banner."""
    return line.removeprefix("*** in database main ***\n").splitlines()[0]
