"""A teach that is stopped or finds a full disk changes nothing, and the next teach gives the same result as without the fault."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.faults.conftest import Program, error_sentence
from tests.support import drawn


@pytest.fixture
def teachable(workspace: Path) -> Program:
    """moodex with the shipped model, over a library whose labels contradict the model."""
    faces = drawn.two_artists(workspace / "faces", count=10)
    program = Program(workspace / "home")
    assert program.run_here("index", faces, shipped_model=True).returncode == 0
    for emotion, drawn_emotion in (("happy", "happy"), ("smug", "sad")):
        images = sorted(faces.rglob(f"{drawn_emotion}/*.png"))[::2]
        assert program.run_here("label", *images, "-e", emotion, "--new", shipped_model=True).returncode == 0
    return program


def test_teaching_that_goes_wrong_changes_nothing(teachable: Program) -> None:
    before = teachable.run_here("search", "-e", "happy", "-k", "100", "-f", "json", shipped_model=True).stdout
    done = teachable.run("teach", shipped_model=1, at="rescore", signals=signal.SIGTERM.value)
    assert error_sentence(done, 143) == "Stopped by SIGTERM; nothing was changed."
    check_unchanged(teachable, before)
    for moment in ("vectors", "teach"):
        message = error_sentence(teachable.run("teach", shipped_model=1, at=moment, max_file_bytes=1000), 1)
        assert str(teachable.home) in message, message
        check_unchanged(teachable, before)
    done = teachable.run_here("teach", "--json", shipped_model=True)
    assert done.returncode == 0 and json.loads(done.stdout)["default"]
    models = json.loads(teachable.run_here("status", "--json", shipped_model=True).stdout)["models"]
    used_models = {model["name"] for model in models if model["images"]}
    assert used_models == {"moodex-lite0", json.loads(done.stdout)["model"]}


def check_unchanged(program: Program, before: bytes) -> None:
    assert program.run_here("search", "-e", "happy", "-k", "100", "-f", "json", shipped_model=True).stdout == before
    assert os.listdir(program.home / "models") == []
    assert json.loads(program.run_here("doctor", "--json", shipped_model=True).stdout)["sound"]


def test_a_stopped_teach_that_would_repeat_an_earlier_version_leaves_that_version_unchanged(teachable: Program) -> None:
    def search_with_first() -> bytes:
        return teachable.run_here("search", "-e", "smug", "-k", "100", "--model", first, "-f", "json", shipped_model=True).stdout

    more = sorted((teachable.home.parent / "faces").rglob("sad/*.png"))[1::2]
    first = json.loads(teachable.run_here("teach", "--json", shipped_model=True).stdout)["model"]
    assert teachable.run_here("label", *more, "-e", "smug", shipped_model=True).returncode == 0
    assert json.loads(teachable.run_here("teach", "--json", shipped_model=True).stdout)["new"]
    assert teachable.run_here("label", *more, "--remove", shipped_model=True).returncode == 0
    before = search_with_first()
    two_interrupts = f"{signal.SIGINT.value},{signal.SIGINT.value}"
    assert teachable.run("teach", shipped_model=1, at="rescore", signals=two_interrupts).returncode == 130
    assert search_with_first() == before and json.loads(before)
    assert json.loads(teachable.run_here("doctor", "--json", shipped_model=True).stdout)["sound"]
