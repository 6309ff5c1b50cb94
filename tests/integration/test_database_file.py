"""What the store makes of a file that is not its own: it says so, and leaves it byte for byte as it was."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from db.store import SqliteStore
from indexer.errors import MoodexError, StoreDamaged


def sql(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE TABLE pets (name TEXT)",),
        ("CREATE TABLE migrations (name TEXT, applied_at TEXT)", "INSERT INTO migrations VALUES ('m001', 'now')"),
    ],
)
def test_another_programs_database_is_left_alone(tmp_path: Path, statements: tuple[str, ...]) -> None:
    path = tmp_path / "moodex.sqlite"
    sql(path, *statements)
    before = path.read_bytes()
    with pytest.raises(MoodexError) as caught:
        SqliteStore(path)
    assert "another program" in str(caught.value) or "newer moodex" in str(caught.value)
    assert path.read_bytes() == before


def test_a_newer_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "moodex.sqlite"
    SqliteStore(path).close()
    sql(path, "INSERT INTO migrations VALUES ('0999_mind_reading', 0)")
    before = path.read_bytes()
    with pytest.raises(MoodexError, match="newer moodex .*0999_mind_reading"):
        SqliteStore(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"hello", b"SQLite format 3\0" + bytes(5000)])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "moodex.sqlite"
    path.write_bytes(content)
    with pytest.raises(StoreDamaged, match="Nothing was changed"):
        SqliteStore(path)
    assert path.read_bytes() == content
