"""Teaching from the command line: fit a model version to labels, and undo it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Run
from tests.support import drawn


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    return drawn.two_artists(tmp_path / "faces", count=10)


def label_half(faces: Path, moodex: Run) -> None:
    """Label half of the images of each drawn emotion: the happy ones happy, the sad ones with the user emotion "smug"."""
    for label, drawn_emotion in (("happy", "happy"), ("smug", "sad")):
        images = sorted(faces.rglob(f"{drawn_emotion}/*.png"))[::2]
        done = moodex("label", *images, "-e", label, "--new")
        assert done.returncode == 0, done.stderr.decode()


def test_a_taught_emotion_is_found_applied_to_new_images_and_undone(moodex: Run, faces: Path) -> None:
    assert moodex("index", faces).returncode == 0
    label_half(faces, moodex)
    done = moodex("teach", "--json")
    assert done.returncode == 0, done.stderr.decode()
    taught = json.loads(done.stdout)
    total = len(list(faces.rglob("*.png")))
    assert (taught["model"], taught["new"], taught["rescored"]) == ("moodex-lite0-taught-1", True, total)
    assert taught["after"] > taught["before"] and set(taught["labels"]) == {"happy", "smug"}
    unlabeled = [
        hit for hit in json.loads(moodex("search", "-e", "smug", "-k", "1000", "-f", "json").stdout) if "label" not in hit
    ]
    assert unlabeled and sum("/sad/" in hit["path"] for hit in unlabeled) > 0.8 * len(unlabeled)
    # The new version also analyzes an image that is added later; the undo re-scores that image with the old version.
    later = faces / "later.png"
    later.write_bytes(next(faces.rglob("sad/*.png")).read_bytes() + b"\0")
    assert json.loads(moodex("index", faces, "--json").stdout)["model"] == "moodex-lite0-taught-1"
    assert b"smug" in moodex("show", later).stdout
    undone = json.loads(moodex("teach", "--undo", "--json").stdout)
    assert undone == {"model": "moodex-lite0", "rescored": 1}
    all_hits = json.loads(moodex("search", "--min-score", "0.01", "-k", "1000", "-f", "json").stdout)
    assert len(all_hits) == total + 1 and "smug" not in all_hits[0]["emotions"]
    assert [model["name"] for model in json.loads(moodex("models", "list", "--json").stdout)] == ["moodex-lite0"]
    again = moodex("teach", "--name", "mine").stdout.decode()
    assert "mine re-scored " in again and "moodex teach --undo" in again
    named = moodex("teach", "--name", "other", "--model", "moodex-lite0").stdout.decode()
    assert "Use it: --model other" in named and b"mine" in moodex("models", "default").stdout
    assert moodex("teach", "--undo", "--model", "mine").returncode == 2


def test_more_labels_give_another_version_and_each_version_can_be_undone(moodex: Run, faces: Path) -> None:
    assert moodex("index", faces).returncode == 0
    label_half(faces, moodex)
    assert json.loads(moodex("teach", "--json").stdout)["model"] == "moodex-lite0-taught-1"
    assert moodex("label", *sorted(faces.rglob("sad/*.png"))[1::2], "-e", "smug").returncode == 0
    second = json.loads(moodex("teach", "--json").stdout)
    assert (second["model"], second["new"]) == ("moodex-lite0-taught-2", True)
    again = moodex("teach").stdout.decode()
    assert "moodex-lite0-taught-2 has already learned these labels" in again
    assert len(json.loads(moodex("models", "list", "--json").stdout)) == 3
    for expected in ("moodex-lite0-taught-1", "moodex-lite0"):
        assert json.loads(moodex("teach", "--undo", "--json").stdout)["model"] == expected
    assert moodex("teach", "--undo").returncode == 2


def test_the_number_of_a_version_with_stored_predictions_is_not_reused(moodex: Run, faces: Path) -> None:
    assert moodex("index", faces).returncode == 0
    label_half(faces, moodex)
    assert moodex("teach").returncode == 0
    assert moodex("models", "default", "moodex-lite0").returncode == 0
    assert moodex("models", "remove", "moodex-lite0-taught-1").returncode == 0
    before = moodex("search", "-e", "smug", "--model", "moodex-lite0-taught-1", "-f", "json").stdout
    assert moodex("label", *sorted(faces.rglob("sad/*.png"))[1::2], "-e", "smug").returncode == 0
    assert json.loads(moodex("teach", "--json").stdout)["model"] == "moodex-lite0-taught-2"
    assert moodex("teach", "--undo").returncode == 0
    after = moodex("search", "-e", "smug", "--model", "moodex-lite0-taught-1", "-f", "json").stdout
    assert {hit["path"] for hit in json.loads(before)} <= {hit["path"] for hit in json.loads(after)}


def test_undo_without_the_earlier_model_suggests_to_choose_another(moodex: Run, faces: Path) -> None:
    assert moodex("index", faces).returncode == 0
    label_half(faces, moodex)
    assert moodex("teach").returncode == 0
    assert moodex("label", *sorted(faces.rglob("sad/*.png"))[1::2], "-e", "smug").returncode == 0
    assert moodex("teach").returncode == 0
    assert moodex("models", "remove", "moodex-lite0-taught-1").returncode == 0
    undone = moodex("teach", "--undo")
    assert undone.returncode == 6 and b"moodex models default NAME" in undone.stderr
    assert moodex("models", "default", "moodex-lite0").returncode == 0


def test_suggestions_are_images_without_a_label(moodex: Run, faces: Path) -> None:
    assert moodex("index", faces).returncode == 0
    suggested = json.loads(moodex("teach", "--suggest", "4", "--json").stdout)
    assert len({image["path"] for image in suggested}) == 4
    assert moodex("label", *(image["path"] for image in suggested), "-e", "sad").returncode == 0
    others = json.loads(moodex("teach", "--suggest", "4", "--json").stdout)
    assert not {image["path"] for image in others} & {image["path"] for image in suggested}
    assert len(moodex("teach", "--suggest", "4").stdout.splitlines()) == 5


def test_an_invalid_teach_command_is_refused_with_a_reason(moodex: Run, faces: Path) -> None:
    assert moodex("teach").returncode == 2
    assert moodex("index", faces).returncode == 0
    for arguments, sentence in (
        ([], "There are too few labels:"),
        (["--undo"], "was not taught"),
        (["--undo", "--name", "x"], "cannot be combined"),
        (["--model", "nobody"], "nobody"),
    ):
        done = moodex("teach", *arguments)
        assert done.returncode in (2, 6) and sentence in done.stderr.decode(), (arguments, done.stderr.decode())
        assert "Traceback" not in done.stderr.decode()
    label_half(faces, moodex)
    assert moodex("teach", "--name", "moodex-lite0").returncode == 2
    assert json.loads(moodex("models", "list", "--json").stdout)[0]["default"]
