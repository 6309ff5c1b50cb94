"""Fixtures that run moodex as a user does, with the shipped model and the example images.

Most tests run moodex in this process, through the same entry point (`tests.support.in_process`), because that is faster. Tests of
signals, pipes, start-up, imports and locks that others hold use `process` or `examples_process`, which start a separate process.
tests/e2e/test_processes.py compares both ways for every command.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support.in_process import Argument, run_in_process

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples/images"

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
Block = Callable[..., None]

_HIDE_PACKAGES = """
from importlib.machinery import PathFinder

find = PathFinder.find_spec
PathFinder.find_spec = classmethod(lambda _, name, *place: None if name.partition(".")[0] in packages else find(name, *place))
"""

_TIMEOUT_SECONDS = 600
"""A process that does not end within this time fails its test."""


def environment(home: Path) -> dict[str, str]:
    """Return environment variables for moodex with a data folder, without the settings of this machine."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MOODEX_")}
    return environ | {"MOODEX_HOME": str(home), "MOODEX_CONFIG": str(home / "none.toml"), "COLUMNS": "100"}


def run_cli(home: Path, *words: Argument) -> subprocess.CompletedProcess[bytes]:
    """Run one command line with a data folder in this process."""
    return run_in_process(words, environment(home))


def run_process(home: Path, *words: Argument) -> subprocess.CompletedProcess[bytes]:
    """Run one command line with a data folder in a separate process."""
    command = [sys.executable, ROOT / "cli.py", *words]
    return subprocess.run(command, capture_output=True, env=environment(home), check=False, timeout=_TIMEOUT_SECONDS)


@pytest.fixture
def moodex(home: Path) -> Run:
    """Run moodex with an empty data folder, in this process."""
    return lambda *words: run_cli(home, *words)


@pytest.fixture
def process(home: Path) -> Run:
    """Run moodex with an empty data folder, in a separate process."""
    return lambda *words: run_process(home, *words)


@pytest.fixture(scope="session")
def examples_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which the example images are indexed, once for all workers. Tests must not write to it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "examples"
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            unfinished = folder.with_name("examples-unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            done = run_process(unfinished, "index", EXAMPLES)
            assert done.returncode == 0, done.stderr.decode()
            unfinished.rename(folder)
    return folder


@pytest.fixture(scope="session")
def examples_moodex(examples_home: Path) -> Run:
    """Run moodex with the indexed example images, in this process."""
    return lambda *words: run_cli(examples_home, *words)


@pytest.fixture(scope="session")
def examples_process(examples_home: Path) -> Run:
    """Run moodex with the indexed example images, in a separate process."""
    return lambda *words: run_process(examples_home, *words)


@pytest.fixture
def without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Block:
    """Hide packages from the processes that a test starts later."""

    def block(*packages: str) -> None:
        folder = tmp_path / "blocked"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(f"packages = {packages!r}\n{_HIDE_PACKAGES}")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]))

    return block
