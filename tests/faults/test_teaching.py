"""Teaching that is stopped, or finds no room: nothing has changed, and the next one does what it would have done."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.faults.conftest import Program, sentence
from tests.support import drawn


@pytest.fixture
def taught(place: Path) -> Program:
    """The program with its own model over a library that has something to teach it."""
    faces = drawn.two_artists(place / "faces", count=10)
    program = Program(place / "home")
    assert program.here("index", faces, shipped_model=True).returncode == 0
    for word, kind in (("happy", "happy"), ("smug", "sad")):
        pictures = sorted(faces.rglob(f"{kind}/*.png"))[::2]
        assert program.here("label", *pictures, "-e", word, "--new", shipped_model=True).returncode == 0
    return program


def test_teaching_that_goes_wrong_changes_nothing(taught: Program) -> None:
    before = taught.here("search", "-e", "happy", "-k", "100", "-f", "json", shipped_model=True).stdout
    done = taught.run("teach", shipped_model=1, at="rescoring", signals=signal.SIGTERM.value)
    assert sentence(done, 143) == "Stopped by SIGTERM; nothing was changed."
    nothing_has_changed(taught, before)
    for moment in ("vectors", "teaching"):
        said = sentence(taught.run("teach", shipped_model=1, at=moment, bytes=1000), 1)
        assert str(taught.home) in said, said
        nothing_has_changed(taught, before)
    done = taught.here("teach", "--json", shipped_model=True)
    assert done.returncode == 0 and json.loads(done.stdout)["default"]
    left = {
        one["name"] for one in json.loads(taught.here("status", "--json", shipped_model=True).stdout)["models"] if one["images"]
    }
    assert left == {"moodex-lite0", json.loads(done.stdout)["model"]}


def nothing_has_changed(program: Program, before: bytes) -> None:
    assert program.here("search", "-e", "happy", "-k", "100", "-f", "json", shipped_model=True).stdout == before
    assert os.listdir(program.home / "models") == []
    assert json.loads(program.here("doctor", "--json", shipped_model=True).stdout)["sound"]


def test_a_version_equal_to_an_earlier_one_leaves_that_alone_where_it_is_stopped(taught: Program) -> None:
    def answers() -> bytes:
        return taught.here("search", "-e", "smug", "-k", "100", "--model", first, "-f", "json", shipped_model=True).stdout

    more = sorted((taught.home.parent / "faces").rglob("sad/*.png"))[1::2]
    first = json.loads(taught.here("teach", "--json", shipped_model=True).stdout)["model"]
    assert taught.here("label", *more, "-e", "smug", shipped_model=True).returncode == 0
    assert json.loads(taught.here("teach", "--json", shipped_model=True).stdout)["new"]
    assert taught.here("label", *more, "--remove", shipped_model=True).returncode == 0
    before = answers()
    twice = f"{signal.SIGINT.value},{signal.SIGINT.value}"
    assert taught.run("teach", shipped_model=1, at="rescoring", signals=twice).returncode == 130
    assert answers() == before and json.loads(before)
    assert json.loads(taught.here("doctor", "--json", shipped_model=True).stdout)["sound"]
