"""A model of one's own: trained by one command, used by the next, beside the shipped one."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from tests.e2e.conftest import Run


def test_a_trained_model_is_used_by_its_name(moodex: Run, home: Path, tmp_path: Path) -> None:
    for style, shade in (("one", 0), ("two", 40)):
        for emotion, colour in (("joy", (255, 200, shade)), ("anger", (shade, 40, 200))):
            folder = tmp_path / "data" / style / emotion
            folder.mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (40 + i, 40), colour).save(folder / f"{i}.png")
    words = ["--weights", "none", "--size", "32", "--epochs", "1", "--pictures-per-epoch", "64"]
    trained = moodex("train", tmp_path / "data", "--name", "mine", "--hold-out", "two", *words)
    assert trained.returncode == 0, trained.stderr.decode()
    assert trained.stdout.decode().strip() == str(home / "models/mine.safetensors")
    card = json.loads((home / "models/mine.json").read_text())
    assert card["labels"] == ["happy", "angry"]
    assert card["about"]["held_out"]["two"]["pictures"] == 8
    assert moodex("index", tmp_path / "data", "--model", "mine").returncode == 0
    found = json.loads(moodex("search", "--model", "mine", "--min-score", "0.01", "-k", "99", "-f", "json").stdout)
    assert len(found) == 16
    assert set(found[0]["emotions"]) == {"happy", "angry"}
    names = {model["name"]: model["images"] for model in json.loads(moodex("models", "list", "--json").stdout)}
    assert names == {"moodex-lite0": 0, "mine": 16}


def test_data_that_cannot_be_trained_on_is_named(moodex: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in ("none", "empty"):
        done = moodex("train", tmp_path / place, "--name", "mine")
        assert done.returncode == 2
        assert place in done.stderr.decode()
        assert b"Traceback" not in done.stderr
