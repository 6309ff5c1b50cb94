"""Fixtures: a small library, moodex in a separate process, and disks that are full or read-only."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders import write_images
from tests.support.in_process import run_in_process
from tests.support.library import Library

ROOT = Path(__file__).parents[2]
IMAGES = 40
_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2

HANG_SECONDS = 600
"""Time after which a process that has not ended fails its test."""


@dataclass(frozen=True)
class Program:
    """moodex with a data folder. `options` are further arguments of `subprocess`."""

    home: Path
    options: dict[str, Any] = field(default_factory=dict)

    def run(self, *arguments: str | Path, **faults: object) -> subprocess.CompletedProcess[str]:
        """Run a command line; `faults` are the variables of `tests.faults.program` without FAULT_, in lower case."""
        return subprocess.run(**self.process_arguments(arguments, faults), capture_output=True, timeout=HANG_SECONDS, check=False)

    def run_here(self, *arguments: str | Path, shipped_model: bool = False) -> subprocess.CompletedProcess[bytes]:
        """Run a command line without faults in the process of the test; without the shipped model it cannot classify."""
        return run_in_process(arguments, self._environment() | ({} if shipped_model else {"MOODEX_MODEL": "fake"}))

    def start(self, *arguments: str | Path, **faults: object) -> subprocess.Popen[str]:
        """Start a command line in the background, in a new process group."""
        pipe = subprocess.PIPE
        return subprocess.Popen(**self.process_arguments(arguments, faults), stdout=pipe, stderr=pipe, start_new_session=True)

    def with_enforced_permissions(self) -> Program:
        """Return a program that file permissions apply to, even as root. Skips the test if that is impossible."""
        if os.geteuid() != 0:
            return self
        program = Program(self.home, {"preexec_fn": _drop_capabilities})
        try:
            program.run("--version")
        except subprocess.SubprocessError:
            pytest.skip("root cannot drop its capabilities here")
        return program

    def process_arguments(self, arguments: tuple[str | Path, ...], faults: dict[str, object]) -> dict[str, Any]:
        """Return the arguments of `subprocess` for a command line."""
        environ = self._environment() | {f"FAULT_{name.upper()}": str(value) for name, value in faults.items()}
        command = [sys.executable, "-B", "-m", "tests.faults.program", *map(str, arguments)]
        return {"args": command, "cwd": ROOT, "env": environ, "text": True, **self.options}

    def _environment(self) -> dict[str, str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("MOODEX_", "FAULT_"))}
        return environ | {"MOODEX_CONFIG": os.devnull, "MOODEX_HOME": str(self.home), "COLUMNS": "100"}


def _drop_capabilities() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")


def error_sentence(done: subprocess.CompletedProcess[str], code: int) -> str:
    """Check the exit code of a command and that it printed one sentence to stderr; return the sentence."""
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("moodex: ") and "Unexpected" not in lines[0], done.stderr
    return lines[0].removeprefix("moodex: ")


def library_state(library: Library) -> list[tuple[object, ...]]:
    """Return all files of a library with their results, and check that a search with the vector index returns all of them.

    Scores are equal to the last bit for all batch sizes, so states can be compared.
    """
    hits = library.everything()
    if hits:
        similar = library.search(like=hits[0].path)
        assert {hit.path for hit in similar} == {hit.path for hit in hits}
    return sorted((hit.path, hit.image_id, hit.emotion, hit.score, hit.label) for hit in hits)


@pytest.fixture
def workspace() -> Iterator[Path]:
    """A folder that every user may read; pytest's temporary folders are private."""
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix="moodex-faults-")))
    folder.chmod(0o755)
    yield folder
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def library(workspace: Path) -> Library:
    """A library whose images are not indexed yet."""
    write_images(workspace / "images", IMAGES)
    return Library(workspace / "images", workspace / "home")


@pytest.fixture
def program(library: Library) -> Program:
    return Program(library.settings.home)


@pytest.fixture
def expected_state(library: Library, workspace: Path) -> list[tuple[object, ...]]:
    """The state of a library of the same images after a run without faults."""
    reference = Library(library.folder, workspace / "reference")
    reference.index()
    return library_state(reference)


class SmallDisk:
    """A disk of a few MB that a test can fill."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, free_bytes: int = 0) -> None:
        """Fill the disk up to a number of free bytes."""
        with self._ballast.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                file.truncate(max(0, file.tell() - free_bytes))

    def clear(self) -> None:
        """Free the space that `fill` took."""
        self._ballast.unlink()


@pytest.fixture
def disk(workspace: Path) -> Iterator[SmallDisk]:
    folder = workspace / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=755", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
