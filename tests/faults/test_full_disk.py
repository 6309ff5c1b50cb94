"""A full disk at any moment: one sentence that names what is full, what was committed stays, and the next run goes on."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from indexer.scheduling import service as scheduling_service
from indexer.settings import Settings
from tests.faults.conftest import PICTURES, Disk, Program, sentence, state
from tests.support.builders import write_images
from tests.support.events import LoggedEvents
from tests.support.library import Library, counts, opened
from tests.support.quiet import Remembered

FULL = "Committed results are kept. Free some space, then run the same command again."


def number(database: Path, query: str) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute(query).fetchone()[0])


@pytest.mark.parametrize("missing", [25, 5, 4, 3, 2, 1])
def test_a_database_that_finds_no_room(
    library: Library, program: Program, undisturbed: list[tuple[object, ...]], missing: int
) -> None:
    pages = number(library.folder.parent / "undisturbed/moodex.sqlite", "PRAGMA page_count") - missing
    assert sentence(program.run("index", library.folder, pages=pages), 1) == (
        f"The database {library.settings.database} cannot be written to: its disk is full. {FULL}"
    )
    assert program.run("status").returncode == 0
    kept = number(library.settings.database, "SELECT count(*) FROM predictions")
    assert kept < PICTURES
    summary = library.index()
    assert (summary.indexed, summary.unchanged) == (PICTURES - kept, kept)
    assert state(library) == undisturbed


def test_a_vector_index_that_finds_no_room(library: Library, program: Program, undisturbed: list[tuple[object, ...]]) -> None:
    said = sentence(program.run("index", library.folder, at="vectors", bytes=1000), 1)
    assert said.startswith(f"All is indexed, but the vector index {library.settings.vectors}/")
    assert list(library.settings.vectors.iterdir()) == []
    like = library.folder / "003.png"
    done = program.run("search", "--like", like, "-k", "1", "-f", "paths", at="vectors", bytes=1000)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{like}\n", "")
    assert counts(library.index()) == {"scanned": PICTURES, "unchanged": PICTURES}
    assert list(library.settings.vectors.iterdir()) != []
    assert state(library) == undisturbed


@pytest.mark.parametrize("leave", [0, 40_000])
def test_everything_on_a_full_disk(library: Library, disk: Disk, undisturbed: list[tuple[object, ...]], leave: int) -> None:
    library = Library(library.folder, disk.folder / "home")
    library.index()
    before = state(library)
    assert before == undisturbed
    program = Program(library.settings.home)
    write_images(library.folder, 20, first_seed=500)
    disk.fill(leave)
    like = library.folder / "003.png"
    for words in (["status"], ["search", "-e", "happy"], ["search", "--like", like], ["show", like], ["doctor"]):
        done = program.run(*words)
        assert (done.returncode, done.stderr) == (0, ""), (words, done.stderr)
    for words in (["index", library.folder], ["label", library.folder, "-e", "sad"]):
        said = sentence(program.run(*words), 1)
        assert said == f"The database {library.settings.database} cannot be written to: its disk is full. {FULL}", words
    for words in (["backup", disk.folder / "b.zip"], ["export", disk.folder / "b.jsonl"]):
        if leave == 0:
            assert sentence(program.run(*words), 1) == f"{words[1]} cannot be written: the disk is full. {FULL}"
    assert sorted(os.listdir(disk.folder)) == ["ballast", "home"] if leave == 0 else True
    disk.clear()
    assert state(library)[: len(before)] == before
    assert program.run("index", library.folder).returncode == 0
    assert program.run("doctor").returncode == 0
    fresh = Library(library.folder, library.folder.parent / "fresh")
    fresh.index()
    assert state(library) == state(fresh)


def test_a_backup_and_an_export_that_find_no_room_leave_nothing(library: Library, program: Program, place: Path) -> None:
    library.index()
    for words, most in ((["backup", place / "b.zip"], 40_000), (["export", place / "b.jsonl"], 1000)):
        said = sentence(program.run(*words, at="copying", bytes=most), 1)
        assert said.startswith(f"{words[1]} cannot be "), said
    assert sorted(os.listdir(place)) == ["home", "pictures"]


def test_output_that_finds_no_room(library: Library, program: Program) -> None:
    library.index()
    with open("/dev/full", "w") as full:
        call: dict[str, Any] = program.call(("search", "-e", "happy", "-f", "paths"), {})
        done = subprocess.run(**call, stdout=full, stderr=subprocess.PIPE, check=False)
    assert sentence(done, 1) == f"The output cannot be written: the disk is full. {FULL}"


def test_a_metrics_file_that_finds_no_room_is_told_of_and_stops_nothing(home: Path, disk: Disk) -> None:
    disk.fill()
    with LoggedEvents() as events:
        assert scheduling_service.run_due(opened(Settings(home)), Remembered, disk.folder / "moodex.prom") == 0
    assert {level for level, _ in events.names} == {"warning"}
    assert all("cannot be written" in sentence and "No space left" in sentence for sentence in events.sentences)
    assert os.listdir(disk.folder) == ["ballast"]
