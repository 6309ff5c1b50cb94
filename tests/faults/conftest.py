"""A small library, the program over it in a process of its own, and disks that are full or cannot be written to."""

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
PICTURES = 40
_DROP = 24
_OVERRIDE, _READ = 1, 2
"""Linux's numbers: PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH."""

HANGS = 600
"""Seconds after which a program that does not end fails its test."""


@dataclass(frozen=True)
class Program:
    """The program over a data folder."""

    home: Path
    options: dict[str, Any] = field(default_factory=dict)

    def run(self, *words: str | Path, **faults: object) -> subprocess.CompletedProcess[str]:
        """One command line; `faults` are those of `tests.faults.program`, in small letters."""
        return subprocess.run(**self.call(words, faults), capture_output=True, timeout=HANGS, check=False)

    def here(self, *words: str | Path, shipped_model: bool = False) -> subprocess.CompletedProcess[bytes]:
        """One command line without faults, in the process of the test; without the shipped model nothing may be computed."""
        return run_in_process(words, self._environment() | ({} if shipped_model else {"MOODEX_MODEL": "fake"}))

    def start(self, *words: str | Path, **faults: object) -> subprocess.Popen[str]:
        """The same in the background, in a process group of its own."""
        pipe = subprocess.PIPE
        return subprocess.Popen(**self.call(words, faults), stdout=pipe, stderr=pipe, start_new_session=True)

    def bound(self) -> Program:
        """The same where permissions bind, which for root they otherwise do not. Skips the test where that cannot be had."""
        if os.geteuid() != 0:
            return self
        bound = Program(self.home, {"preexec_fn": _obey_permissions})
        try:
            bound.run("--version")
        except subprocess.SubprocessError:
            pytest.skip("root cannot give up its rights here")
        return bound

    def call(self, words: tuple[str | Path, ...], faults: dict[str, object]) -> dict[str, Any]:
        """What `subprocess` is told to run it."""
        environ = self._environment() | {f"FAULT_{name.upper()}": str(value) for name, value in faults.items()}
        command = [sys.executable, "-B", "-m", "tests.faults.program", *map(str, words)]
        return {"args": command, "cwd": ROOT, "env": environ, "text": True, **self.options}

    def _environment(self) -> dict[str, str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("MOODEX_", "FAULT_"))}
        return environ | {"MOODEX_CONFIG": os.devnull, "MOODEX_HOME": str(self.home), "COLUMNS": "100"}


def _obey_permissions() -> None:
    system = ctypes.CDLL(None, use_errno=True)
    for capability in (_OVERRIDE, _READ):
        if system.prctl(_DROP, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")


def sentence(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one sentence that a command ended with, and the code."""
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("moodex: ") and "Unexpected" not in lines[0], done.stderr
    return lines[0].removeprefix("moodex: ")


def state(library: Library) -> list[tuple[object, ...]]:
    """Everything that a library answers; its vector index agrees. Scores are equal to the last bit, whatever the batches were."""
    found = library.everything()
    if found:
        similar = library.search(like=found[0].path)
        assert {hit.path for hit in similar} == {hit.path for hit in found}
    return sorted((hit.path, hit.image_id, hit.emotion, hit.score, hit.label) for hit in found)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may look into, unlike pytest's own."""
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix="moodex-faults-")))
    folder.chmod(0o755)
    yield folder
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def library(place: Path) -> Library:
    """Pictures that are not indexed yet."""
    write_images(place / "pictures", PICTURES)
    return Library(place / "pictures", place / "home")


@pytest.fixture
def program(library: Library) -> Program:
    return Program(library.settings.home)


@pytest.fixture
def undisturbed(library: Library, place: Path) -> list[tuple[object, ...]]:
    """What a library answers in which nothing went wrong."""
    other = Library(library.folder, place / "undisturbed")
    other.index()
    return state(other)


class Disk:
    """A disk of a few MB."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, leave: int = 0) -> None:
        """Leave so many bytes free."""
        with self._ballast.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                file.truncate(max(0, file.tell() - leave))

    def clear(self) -> None:
        """Make room again."""
        self._ballast.unlink()


@pytest.fixture
def disk(place: Path) -> Iterator[Disk]:
    folder = place / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=755", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a disk of its own cannot be mounted here")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
