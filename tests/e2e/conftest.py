"""The program as a user runs it: a process of its own, the shipped model, the example pictures."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples/images"

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


def run_cli(home: Path, *arguments: str | bytes | Path) -> subprocess.CompletedProcess[bytes]:
    """One command line, with a data folder of its own."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MOODEX_")}
    environ |= {"MOODEX_HOME": str(home), "MOODEX_CONFIG": str(home / "none.toml"), "COLUMNS": "100"}
    words = [os.fsencode(argument) if isinstance(argument, Path) else argument for argument in arguments]
    return subprocess.run([sys.executable, ROOT / "cli.py", *words], capture_output=True, env=environ, check=False, timeout=300)


@pytest.fixture
def moodex(home: Path) -> Run:
    """The program over an empty data folder."""
    return lambda *arguments: run_cli(home, *arguments)


@pytest.fixture(scope="session")
def examples_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which the example pictures are indexed. Not to be written to."""
    home = tmp_path_factory.mktemp("examples") / "home"
    done = run_cli(home, "index", EXAMPLES)
    assert done.returncode == 0, done.stderr.decode()
    return home


@pytest.fixture(scope="session")
def stocked(examples_home: Path) -> Run:
    """The program over the indexed example pictures."""
    return lambda *arguments: run_cli(examples_home, *arguments)
