"""A person's own word, from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from tests.e2e.conftest import EXAMPLES, Run

HEADS = EXAMPLES / "bigheads"


def test_pictures_are_labelled_listed_doubted_and_let_go(moodex: Run, tmp_path: Path) -> None:
    assert moodex("index", HEADS).returncode == 0
    head = HEADS / "head-08.png"
    done = moodex("label", head, "--emotion", "furious")
    assert (done.returncode, done.stdout) == (0, b"Labels of 1 picture changed.\n"), done.stderr.decode()
    (hit,) = json.loads(moodex("search", "--emotion", "angry", "--min-score", "1", "-f", "json").stdout)
    assert hit["path"] == str(head) and hit["label"] == "angry" and hit["emotions"]["happy"] > 0.5
    assert b"You said: angry. The model says:" in moodex("show", head).stdout
    (doubt,) = json.loads(moodex("doubts", "--json").stdout)
    assert (doubt["path"], doubt["said"], doubt["other"]) == (str(head), "angry", "happy")
    assert "angry 0.0" in moodex("doubts").stdout.decode()
    listed = moodex("label", "--list")
    (row,) = csv.DictReader(listed.stdout.decode().splitlines())
    assert (row["path"], row["label"], row["image_id"]) == (str(head), "angry", hit["image_id"])
    (tmp_path / "kept.csv").write_bytes(listed.stdout)
    assert json.loads(moodex("label", head, "--remove", "--json").stdout) == {"changed": 1, "unchanged": 0}
    assert moodex("label", tmp_path / "kept.csv").stdout == b"Labels of 1 picture changed.\n"


def test_what_cannot_be_said_is_named(moodex: Run, tmp_path: Path) -> None:
    head = HEADS / "head-08.png"
    assert moodex("label", head, "-e", "sad").returncode == 2
    assert moodex("index", HEADS).returncode == 0
    for arguments, sentence in (
        ([head], "--emotion EMOTION, or --remove"),
        ([head, "-e", "sad", "--remove"], "not both"),
        ([head, "-e", "smugg"], "--new"),
        (["-e", "sad"], "Say which pictures"),
        (["--list", head], "--list goes alone"),
        ([tmp_path, "-e", "sad"], "No indexed picture lies at"),
        ([tmp_path / "none.csv"], "cannot be read"),
    ):
        done = moodex("label", *arguments)
        assert (done.returncode, sentence in done.stderr.decode()) == (2, True), (arguments, done.stderr.decode())
