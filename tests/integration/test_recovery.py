"""Salvage of a damaged database: every readable file and label goes into a new one."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from indexer.domain.errors import StoreDamaged
from indexer.domain.health import DoctorReport
from indexer.maintenance import service as maintenance_service
from indexer.maintenance import status as status_service
from tests.support import damage
from tests.support.damage import old_schema, rows, sql
from tests.support.library import Library
from tests.support.quiet import Remembered

PAGE_BYTES = 4096


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return damage.build(tmp_path_factory.mktemp("intact"))


@pytest.fixture
def library(intact: Library, tmp_path: Path) -> Iterator[Library]:
    yield damage.copy(intact, tmp_path)


def doctor(library: Library, repair: bool = False) -> DoctorReport:
    check = maintenance_service.check_and_repair if repair else maintenance_service.check
    return check(library.opened, False, Remembered())


def files_and_labels(library: Library) -> tuple[object, object]:
    files = rows(library, "SELECT path, name FROM files JOIN folders ON folders.id = folder_id ORDER BY path, name")
    labels = rows(library, "SELECT digest, emotion FROM labels JOIN images ON images.id = image_id ORDER BY digest")
    return files, labels


def rewrite(library: Library, change: Callable[[bytearray], None]) -> bytes:
    """Change the bytes of the database file; return the new bytes."""
    data = bytearray(library.settings.database.read_bytes())
    change(data)
    library.settings.database.write_bytes(data)
    return bytes(data)


def test_a_lost_header_costs_nothing(library: Library) -> None:
    before = files_and_labels(library)
    damaged = rewrite(library, lambda data: data.__setitem__(slice(0, 100), bytes(100)))
    with pytest.raises(StoreDamaged, match="moodex doctor --repair"):
        status_service.status(library.opened, 0)
    assert doctor(library).exit_code == 5
    assert library.settings.database.read_bytes() == damaged
    done = doctor(library, repair=True)
    assert done.exit_code == 0 and done.repair is not None and done.repair.recovered is not None
    assert done.repair.saved is not None and done.repair.saved.read_bytes() == damaged
    assert files_and_labels(library) == before
    assert library.index().indexed == 0 and len(library.paths()) == 40


def test_any_lost_page_costs_no_file_and_no_label(intact: Library, tmp_path: Path) -> None:
    before = files_and_labels(intact)
    pages = intact.settings.database.stat().st_size // PAGE_BYTES
    noise = random.Random(0)
    for page in range(pages):
        library = damage.copy(intact, tmp_path / str(page))
        content = bytes(PAGE_BYTES) if page % 2 else noise.randbytes(PAGE_BYTES)
        lost = slice(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
        rewrite(library, lambda data, lost=lost, content=content: data.__setitem__(lost, content))  # type: ignore[misc]
        assert doctor(library).exit_code == 5, page
        done = doctor(library, repair=True)
        assert done.exit_code == 0, (page, done.repair)
        assert files_and_labels(library) == before, page
        if page % 5 == 0:
            library.index()
            assert doctor(library).exit_code == 0 and len(library.paths()) == 40, page


@pytest.mark.parametrize("share", [0.1, 0.6, 0.95])
def test_a_truncated_database_keeps_its_remaining_rows(library: Library, share: float) -> None:
    files, labels = files_and_labels(library)
    damaged = rewrite(library, lambda data: data.__delitem__(slice(int(len(data) * share), None)))
    if share < 0.5:  # in a small library, the rows of files begin later
        with pytest.raises(StoreDamaged, match="Nothing can be read"):
            doctor(library, repair=True)
        assert library.settings.database.read_bytes() == damaged
        return
    done = doctor(library, repair=True)
    assert done.exit_code == 0 and done.repair is not None and done.repair.saved is not None
    assert done.repair.saved.read_bytes() == damaged
    remaining_files, remaining_labels = files_and_labels(library)
    assert set(remaining_labels) <= set(labels)  # type: ignore[call-overload]
    assert {row[1] for row in remaining_files} <= {row[1] for row in files} and remaining_files  # type: ignore[attr-defined]
    library.index()
    assert doctor(library).exit_code == 0 and len(library.paths()) == 40


@pytest.mark.parametrize("content", [b"", b"hello", b"not a database " * 5000, bytes(50_000)])
def test_an_unreadable_database_is_not_changed(library: Library, content: bytes) -> None:
    library.settings.database.write_bytes(content)
    for command in (lambda: status_service.status(library.opened, 0), library.index, library.everything):
        with pytest.raises(StoreDamaged):
            command()
    assert doctor(library).exit_code == 5
    with pytest.raises(StoreDamaged, match="moodex restore"):
        doctor(library, repair=True)
    assert library.settings.database.read_bytes() == content


def test_a_wrong_database_index_is_rebuilt(library: Library) -> None:
    before = files_and_labels(library)
    with closing(sqlite3.connect(library.settings.database)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        index = connection.execute("SELECT * FROM sqlite_master WHERE name = 'predictions_by_score'").fetchone()
        connection.execute("DELETE FROM sqlite_master WHERE name = 'predictions_by_score'")
        connection.commit()
    sql(library, "UPDATE predictions SET region = 0 WHERE region = 0", "DELETE FROM predictions WHERE image_id = 1")
    with closing(sqlite3.connect(library.settings.database)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", index)
        connection.commit()
    assert "indexes" in {finding.kind for finding in doctor(library).found.findings}
    done = doctor(library, repair=True)
    assert done.exit_code == 0 and done.repair is not None and done.repair.recovered is None
    assert files_and_labels(library) == before


def test_a_foreign_write_ahead_log_is_harmless(library: Library) -> None:
    before = files_and_labels(library)
    log = library.settings.database.with_name("moodex.sqlite-wal")
    log.write_bytes(random.Random(1).randbytes(20_000))
    assert len(library.everything()) == 40
    assert doctor(library).exit_code == 0 and files_and_labels(library) == before


def test_a_database_of_an_older_schema_is_salvaged(tmp_path: Path, intact: Library) -> None:
    library = Library(intact.folder, tmp_path / "home")
    library.settings.home.mkdir()
    old_schema(library.settings.database, 2)
    sql(
        library,
        f"INSERT INTO models VALUES (1, '{library.classifier.card.key}', 'fake', 'fake', 'x', '[\"happy\"]', '{{}}', 64)",
        "INSERT INTO runs VALUES (1, 0, 1, '[]', 1, 1, 'done', '{}')",
        "INSERT INTO folders VALUES (1, CAST('/a' AS BLOB))",
        "INSERT INTO images VALUES (1, zeroblob(32), 1, 1, 'PNG')",
        "INSERT INTO files VALUES (1, 1, CAST('x' AS BLOB), 1, 1, 'done', NULL, NULL, 1, 1)",
        "INSERT INTO labels VALUES (1, 'sad', 5)",
    )
    before = files_and_labels(library)
    rewrite(library, lambda data: data.__setitem__(slice(0, 100), bytes(100)))
    assert doctor(library, repair=True).exit_code == 0
    assert files_and_labels(library) == before


def test_every_repair_keeps_a_copy(library: Library) -> None:
    for _ in range(3):
        sql(library, "UPDATE predictions SET score = 0.5 WHERE id = (SELECT min(id) FROM predictions)")
        assert doctor(library, repair=True).exit_code == 0
    copies = list(library.settings.home.glob("moodex.sqlite.before-repair-*"))
    assert len(copies) == 3
    assert all(os.path.getsize(copy) > PAGE_BYTES for copy in copies)
