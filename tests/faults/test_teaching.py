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
    assert program.run("index", faces, shipped_model=1).returncode == 0
    for word, kind in (("happy", "happy"), ("smug", "sad")):
        pictures = sorted(faces.rglob(f"{kind}/*.png"))[::2]
        assert program.run("label", *pictures, "-e", word, "--new", shipped_model=1).returncode == 0
    return program


def test_teaching_that_goes_wrong_changes_nothing(taught: Program) -> None:
    before = taught.run("search", "-e", "happy", "-k", "100", "-f", "json", shipped_model=1).stdout
    done = taught.run("teach", shipped_model=1, at="rescoring", signals=signal.SIGTERM.value)
    assert sentence(done, 143) == "Stopped by SIGTERM; nothing was changed."
    nothing_has_changed(taught, before)
    for moment in ("vectors", "teaching"):
        said = sentence(taught.run("teach", shipped_model=1, at=moment, bytes=1000), 1)
        assert str(taught.home) in said, said
        nothing_has_changed(taught, before)
    done = taught.run("teach", "--json", shipped_model=1)
    assert done.returncode == 0 and json.loads(done.stdout)["default"]
    left = {one["name"] for one in json.loads(taught.run("status", "--json", shipped_model=1).stdout)["models"] if one["images"]}
    assert left == {"moodex-lite0", json.loads(done.stdout)["model"]}


def nothing_has_changed(program: Program, before: str) -> None:
    assert program.run("search", "-e", "happy", "-k", "100", "-f", "json", shipped_model=1).stdout == before
    assert os.listdir(program.home / "models") == []
    assert json.loads(program.run("doctor", "--json", shipped_model=1).stdout)["sound"]


def test_a_version_equal_to_an_earlier_one_leaves_that_alone_where_it_is_stopped(taught: Program) -> None:
    def answers() -> str:
        return taught.run("search", "-e", "smug", "-k", "100", "--model", first, "-f", "json", shipped_model=1).stdout

    more = sorted((taught.home.parent / "faces").rglob("sad/*.png"))[1::2]
    first = json.loads(taught.run("teach", "--json", shipped_model=1).stdout)["model"]
    assert taught.run("label", *more, "-e", "smug", shipped_model=1).returncode == 0
    assert json.loads(taught.run("teach", "--json", shipped_model=1).stdout)["new"]
    assert taught.run("label", *more, "--remove", shipped_model=1).returncode == 0
    before = answers()
    twice = f"{signal.SIGINT.value},{signal.SIGINT.value}"
    assert taught.run("teach", shipped_model=1, at="rescoring", signals=twice).returncode == 130
    assert answers() == before and json.loads(before)
    assert json.loads(taught.run("doctor", "--json", shipped_model=1).stdout)["sound"]
