"""A read-only data folder: commands that only read work, and commands that write print one sentence."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Program, error_sentence
from tests.support.builders import write_images
from tests.support.library import Library


def read_commands(library: Library) -> list[list[str | Path]]:
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


def write_commands(library: Library) -> list[list[str | Path]]:
    return [["index", library.folder], ["label", library.folder, "-e", "sad"], ["doctor", "--repair"]]


@pytest.fixture
def outputs(library: Library, program: Program) -> list[str]:
    """The output of each read command while the data folder is writable."""
    library.index()
    return [program.run(*command).stdout for command in read_commands(library)]


@pytest.fixture
def restricted(library: Library, program: Program, outputs: list[str]) -> Iterator[Program]:
    """moodex of a user who may only read the data folder."""
    home = library.settings.home
    restricted = program.with_enforced_permissions()
    make_read_only(home)
    yield restricted
    home.chmod(0o755)


def make_read_only(home: Path) -> None:
    for path in home.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    home.chmod(0o555)


def test_read_commands_work_with_a_read_only_data_folder(library: Library, restricted: Program, outputs: list[str]) -> None:
    for command, output in zip(read_commands(library), outputs, strict=True):
        done = restricted.run(*command)
        assert (done.returncode, done.stderr, done.stdout) == (0, "", output), command
    for command in write_commands(library):
        message = error_sentence(restricted.run(*command), 1)
        assert message == f"The data folder {library.settings.home} cannot be used: Permission denied."
    assert sorted(os.listdir(library.settings.home)) == ["moodex.sqlite", "vectors", "writer.lock"]


def test_read_commands_work_with_a_read_only_database_file(library: Library, restricted: Program, outputs: list[str]) -> None:
    home = library.settings.home
    home.chmod(0o777)
    (home / "writer.lock").chmod(0o666)
    for command, output in zip(read_commands(library), outputs, strict=True):
        done = restricted.run(*command)
        assert (done.returncode, done.stderr, done.stdout) == (0, "", output), command
    write_images(library.folder, 1, first_seed=500)
    for command in write_commands(library)[:2]:
        message = error_sentence(restricted.run(*command), 1)
        assert message == f"The database {library.settings.database} cannot be written to: it, or its folder, is read-only."


def test_read_commands_work_on_a_read_only_disk(library: Library, workspace: Path) -> None:
    folder = workspace / "mounted"
    folder.mkdir()
    mounted = Library(library.folder, folder / "home")
    mounted.index()
    program = Program(mounted.settings.home)
    outputs = [program.run(*command).stdout for command in read_commands(mounted)]
    bind = ["mount", "--bind", str(folder), str(folder)]
    if shutil.which("mount") is None or subprocess.run(bind, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        for command, output in zip(read_commands(mounted), outputs, strict=True):
            done = program.run(*command)
            assert (done.returncode, done.stderr, done.stdout) == (0, "", output), command
        for command in write_commands(mounted):
            message = error_sentence(program.run(*command), 1)
            assert message == f"The data folder {mounted.settings.home} cannot be used: Read-only file system."
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_read_only_library_of_a_killed_program_is_readable(library: Library, program: Program) -> None:
    restricted = program.with_enforced_permissions()
    done = program.run("index", library.folder, at="vectors", signals=signal.SIGKILL.value)
    assert done.returncode == -signal.SIGKILL
    home = library.settings.home
    assert (home / "moodex.sqlite-wal").stat().st_size > 0
    make_read_only(home)
    try:
        for command in read_commands(library):
            done = restricted.run(*command)
            assert (done.returncode, done.stderr) == (0, ""), command
        home.chmod(0o755)
        (home / "moodex.sqlite-shm").unlink()  # as after a power cut
        home.chmod(0o555)
        for command in read_commands(library)[:3]:
            message = error_sentence(restricted.run(*command), 1)
            assert "a program that used it was killed" in message and "moodex status" in message
    finally:
        home.chmod(0o755)
    for path in home.iterdir():
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert program.run("status").returncode == 0
    make_read_only(home)
    assert restricted.run("search", "-e", "happy").returncode == 0
    home.chmod(0o755)
