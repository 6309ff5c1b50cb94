"""The program as a user runs it, with the shipped model and the example images.

Most tests run it in this process, through the same entry (`tests.support.in_process`). What is about processes, that is signals,
pipes, start-up, imports and locks held by others, asks for `process` or `examples_process`; tests/e2e/test_processes.py compares
the two ways, command by command.
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

from tests.support.in_process import Word, run_in_process

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples/images"

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]

_PATIENCE = 600
"""Seconds after which a program that does not end fails its test."""


def environment(home: Path) -> dict[str, str]:
    """The environment of a program over a data folder, without settings of this machine."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MOODEX_")}
    return environ | {"MOODEX_HOME": str(home), "MOODEX_CONFIG": str(home / "none.toml"), "COLUMNS": "100"}


def run_cli(home: Path, *words: Word) -> subprocess.CompletedProcess[bytes]:
    """One command line in this process, with a data folder of its own."""
    return run_in_process(words, environment(home))


def run_process(home: Path, *words: Word) -> subprocess.CompletedProcess[bytes]:
    """The same in a process of its own."""
    command = [sys.executable, ROOT / "cli.py", *words]
    return subprocess.run(command, capture_output=True, env=environment(home), check=False, timeout=_PATIENCE)


@pytest.fixture
def moodex(home: Path) -> Run:
    """The program over an empty data folder, in this process."""
    return lambda *words: run_cli(home, *words)


@pytest.fixture
def process(home: Path) -> Run:
    """The program over an empty data folder, in a process of its own."""
    return lambda *words: run_process(home, *words)


@pytest.fixture(scope="session")
def examples_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which the example images are indexed, once for all workers. Not to be written to."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "examples"
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            made = folder.with_name("examples-being-made")
            shutil.rmtree(made, ignore_errors=True)
            done = run_process(made, "index", EXAMPLES)
            assert done.returncode == 0, done.stderr.decode()
            made.rename(folder)
    return folder


@pytest.fixture(scope="session")
def stocked(examples_home: Path) -> Run:
    """The program over the indexed example images, in this process."""
    return lambda *words: run_cli(examples_home, *words)


@pytest.fixture(scope="session")
def examples_process(examples_home: Path) -> Run:
    """The program over the indexed example images, in a process of its own."""
    return lambda *words: run_process(examples_home, *words)
