"""A data folder that cannot be written to: everything that only reads answers, what would write says a sentence."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Program, sentence
from tests.support.builders import write_images
from tests.support.library import Library


def reading(library: Library) -> list[list[str | Path]]:
    like = library.folder / "003.png"
    return [
        ["status"],
        ["search", "-e", "happy", "-f", "json"],
        ["search", "--like", like, "-f", "json"],
        ["show", like],
        ["doctor"],
        ["label", "--list"],
        ["doubts"],
        ["models", "list"],
        ["schedule", "list"],
        ["runs"],
    ]


def writing(library: Library) -> list[list[str | Path]]:
    return [["index", library.folder], ["label", library.folder, "-e", "sad"], ["doctor", "--repair"]]


@pytest.fixture
def answers(library: Library, program: Program) -> list[str]:
    """What is said where writing is possible."""
    library.index()
    return [program.run(*words).stdout for words in reading(library)]


@pytest.fixture
def bound(library: Library, program: Program, answers: list[str]) -> Iterator[Program]:
    """The program by somebody who may only look into the data folder."""
    home = library.settings.home
    bound = program.bound()
    shut(home)
    yield bound
    home.chmod(0o755)


def shut(home: Path) -> None:
    """Take the right to write from a data folder."""
    for path in home.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    home.chmod(0o555)


def test_a_folder_that_may_not_be_written_to(library: Library, bound: Program, answers: list[str]) -> None:
    for words, answer in zip(reading(library), answers, strict=True):
        done = bound.run(*words)
        assert (done.returncode, done.stderr, done.stdout) == (0, "", answer), words
    for words in writing(library):
        assert sentence(bound.run(*words), 1) == f"The data folder {library.settings.home} cannot be used: Permission denied."
    assert sorted(os.listdir(library.settings.home)) == ["moodex.sqlite", "vectors", "writer.lock"]


def test_a_database_file_that_may_not_be_written_to(library: Library, bound: Program, answers: list[str]) -> None:
    home = library.settings.home
    home.chmod(0o777)
    (home / "writer.lock").chmod(0o666)
    for words, answer in zip(reading(library), answers, strict=True):
        done = bound.run(*words)
        assert (done.returncode, done.stderr, done.stdout) == (0, "", answer), words
    write_images(library.folder, 1, first_seed=500)
    for words in writing(library)[:2]:
        said = sentence(bound.run(*words), 1)
        assert said == f"The database {library.settings.database} cannot be written to: it, or its folder, is read-only."


def test_a_disk_that_is_mounted_read_only(library: Library, place: Path) -> None:
    folder = place / "mounted"
    folder.mkdir()
    mounted = Library(library.folder, folder / "home")
    mounted.index()
    program = Program(mounted.settings.home)
    before = [program.run(*words).stdout for words in reading(mounted)]
    bind = ["mount", "--bind", str(folder), str(folder)]
    if shutil.which("mount") is None or subprocess.run(bind, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        for words, answer in zip(reading(mounted), before, strict=True):
            done = program.run(*words)
            assert (done.returncode, done.stderr, done.stdout) == (0, "", answer), words
        for words in writing(mounted):
            said = sentence(program.run(*words), 1)
            assert said == f"The data folder {mounted.settings.home} cannot be used: Read-only file system."
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_what_a_killed_program_left_there_is_read_too(library: Library, program: Program) -> None:
    bound = program.bound()
    done = program.run("index", library.folder, at="vectors", signals=signal.SIGKILL.value)
    assert done.returncode == -signal.SIGKILL
    home = library.settings.home
    assert (home / "moodex.sqlite-wal").stat().st_size > 0
    shut(home)
    try:
        for words in reading(library):
            done = bound.run(*words)
            assert (done.returncode, done.stderr) == (0, ""), words
        home.chmod(0o755)
        (home / "moodex.sqlite-shm").unlink()  # as after a power cut
        home.chmod(0o555)
        for words in reading(library)[:3]:
            said = sentence(bound.run(*words), 1)
            assert "cannot be opened where nothing can be written beside it" in said and "moodex status" in said
    finally:
        home.chmod(0o755)
    for path in home.iterdir():
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert program.run("status").returncode == 0
    shut(home)
    assert bound.run("search", "-e", "happy").returncode == 0
    home.chmod(0o755)
