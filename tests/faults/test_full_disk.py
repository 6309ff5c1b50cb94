"""A full disk at any moment: moodex prints one sentence that names the disk, keeps its commits, and resumes in the next run."""

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
from tests.faults.conftest import IMAGES, Program, SmallDisk, error_sentence, library_state
from tests.support.builders import write_images
from tests.support.events import LoggedEvents
from tests.support.library import Library, counts, opened
from tests.support.quiet import Remembered

ADVICE = "Committed results are kept. Free some space, then run the same command again."


def query_number(database: Path, query: str) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute(query).fetchone()[0])


@pytest.mark.parametrize("missing", [25, 5, 4, 3, 2, 1])
def test_a_run_without_space_for_the_database_keeps_its_commits(
    library: Library, program: Program, expected_state: list[tuple[object, ...]], missing: int
) -> None:
    max_pages = query_number(library.folder.parent / "reference/moodex.sqlite", "PRAGMA page_count") - missing
    assert error_sentence(program.run("index", library.folder, max_pages=max_pages), 1) == (
        f"The database {library.settings.database} cannot be written to: its disk is full. {ADVICE}"
    )
    assert program.run("status").returncode == 0
    committed = query_number(library.settings.database, "SELECT count(*) FROM predictions")
    assert committed < IMAGES
    summary = library.index()
    assert (summary.indexed, summary.unchanged) == (IMAGES - committed, committed)
    assert library_state(library) == expected_state


def test_without_space_for_the_vector_index_searches_work_and_the_next_run_saves_it(
    library: Library, program: Program, expected_state: list[tuple[object, ...]]
) -> None:
    message = error_sentence(program.run("index", library.folder, at="vectors", max_file_bytes=1000), 1)
    assert message.startswith(f"The images are indexed, but the vector index {library.settings.vectors}/")
    assert list(library.settings.vectors.iterdir()) == []
    like = library.folder / "003.png"
    done = program.run("search", "--like", like, "-k", "1", "-f", "paths", at="vectors", max_file_bytes=1000)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{like}\n", "")
    assert counts(library.index()) == {"scanned": IMAGES, "unchanged": IMAGES}
    assert list(library.settings.vectors.iterdir()) != []
    assert library_state(library) == expected_state


@pytest.mark.parametrize("free_bytes", [0, 40_000])
def test_everything_on_a_full_disk(
    library: Library, disk: SmallDisk, expected_state: list[tuple[object, ...]], free_bytes: int
) -> None:
    library = Library(library.folder, disk.folder / "home")
    library.index()
    before = library_state(library)
    assert before == expected_state
    program = Program(library.settings.home)
    write_images(library.folder, 20, first_seed=500)
    disk.fill(free_bytes)
    like = library.folder / "003.png"
    for command in (["status"], ["search", "-e", "happy"], ["search", "--like", like], ["show", like], ["doctor"]):
        done = program.run(*command)
        assert (done.returncode, done.stderr) == (0, ""), (command, done.stderr)
    for command in (["index", library.folder], ["label", library.folder, "-e", "sad"]):
        message = error_sentence(program.run(*command), 1)
        assert message == f"The database {library.settings.database} cannot be written to: its disk is full. {ADVICE}", command
    for command in (["backup", disk.folder / "b.zip"], ["export", disk.folder / "b.jsonl"]):
        if free_bytes == 0:
            assert error_sentence(program.run(*command), 1) == f"{command[1]} cannot be written: the disk is full. {ADVICE}"
    assert sorted(os.listdir(disk.folder)) == ["ballast", "home"] if free_bytes == 0 else True
    disk.clear()
    assert library_state(library)[: len(before)] == before
    assert program.run("index", library.folder).returncode == 0
    assert program.run("doctor").returncode == 0
    fresh = Library(library.folder, library.folder.parent / "fresh")
    fresh.index()
    assert library_state(library) == library_state(fresh)


def test_a_backup_and_an_export_without_space_leave_no_file(library: Library, program: Program, workspace: Path) -> None:
    library.index()
    backup, export = ["backup", workspace / "b.zip"], ["export", workspace / "b.jsonl"]
    for command, moment, max_bytes in ((backup, "copy", 40_000), (export, "export", 1000)):
        message = error_sentence(program.run(*command, at=moment, max_file_bytes=max_bytes), 1)
        assert message.startswith(f"{command[1]} cannot be "), message
    assert sorted(os.listdir(workspace)) == ["home", "images"]


def test_output_to_a_full_disk_ends_with_a_sentence(library: Library, program: Program) -> None:
    library.index()
    with open("/dev/full", "w") as full:
        arguments: dict[str, Any] = program.process_arguments(("search", "-e", "happy", "-f", "paths"), {})
        done = subprocess.run(**arguments, stdout=full, stderr=subprocess.PIPE, check=False)
    assert error_sentence(done, 1) == f"The output cannot be written: the disk is full. {ADVICE}"


def test_a_metrics_file_without_space_is_logged_and_stops_nothing(home: Path, disk: SmallDisk) -> None:
    disk.fill()
    with LoggedEvents() as events:
        assert scheduling_service.run_due(opened(Settings(home)), Remembered, disk.folder / "moodex.prom") == 0
    assert {level for level, _ in events.names} == {"warning"}
    assert all("cannot be written" in sentence and "No space left" in sentence for sentence in events.sentences)
    assert os.listdir(disk.folder) == ["ballast"]
