"""Faces on a page, through the command line."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.e2e.conftest import EXAMPLES, Run

PLACES = {"noto/noto-02.png": (60, 80), "open-peeps/peep-10.png": (480, 300)}
"""A laughing and a sad one, and where they lie on the page."""

SIDE = 180


@pytest.fixture
def page(tmp_path: Path) -> Path:
    sheet = Image.new("RGB", (800, 600), (214, 228, 240))
    for name, place in PLACES.items():
        with Image.open(next(EXAMPLES.glob(name.replace(".png", ".*")))) as file:
            picture = file.convert("RGBA").resize((SIDE, SIDE))
        sheet.paste(picture, place, picture)
    path = tmp_path / "pictures" / "page.png"
    path.parent.mkdir()
    sheet.save(path)
    return path


def shown(moodex: Run, *arguments: object) -> Any:
    done = moodex(*arguments)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def lies_in(box: list[int], name: str) -> bool:
    left, top = PLACES[name]
    middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return left < middle[0] < left + SIDE and top < middle[1] < top + SIDE


def test_a_page_is_found_by_either_of_its_faces(moodex: Run, page: Path) -> None:
    assert shown(moodex, "index", page.parent, "--json")["indexed"] == 1
    for emotion, name in zip(("happy", "sad"), PLACES, strict=True):
        (hit,) = shown(moodex, "search", "--emotion", emotion, "--format", "json")
        assert lies_in(hit["box"], name)
        assert hit["score"] == max(p for e, p in hit["emotions"].items())
    assert shown(moodex, "search", "--emotion", "happy", "--not", "sad", "--format", "json") == []
    table = moodex("search", "--emotion", "happy").stdout.decode()
    assert "FACE" in table and re.search(r" \d+x\d+\+\d+\+\d+ ", table)
    rows = moodex("search", "--emotion", "happy", "--format", "csv").stdout.decode().splitlines()
    assert rows[0].endswith(",box") and len(rows[1].split(",")[-1].split()) == 4


def test_show_has_every_face(moodex: Run, page: Path) -> None:
    found = shown(moodex, "show", page, "--json")
    assert len(found["faces"]) == 2 and found["box"] == found["faces"][0]["box"]
    bars = moodex("show", page).stdout.decode()
    assert "face 1 of 2 at " in bars and "face 2 of 2 at " in bars
    moodex("index", page.parent)
    assert moodex("show", page).stdout.decode() == bars
    assert "box" not in shown(moodex, "show", page, "--faces", "off", "--json")


def test_faces_can_be_left_alone(moodex: Run, page: Path) -> None:
    assert shown(moodex, "index", page.parent, "--faces", "off", "--json")["indexed"] == 1
    (hit,) = shown(moodex, "search", "--under", page.parent, "--format", "json")
    assert "box" not in hit
    assert "face at" not in moodex("show", page).stdout.decode()
    assert shown(moodex, "index", page.parent, "--json")["indexed"] == 1
    (hit,) = shown(moodex, "search", "--under", page.parent, "--format", "json")
    assert len(hit["box"]) == 4


def test_a_picture_from_elsewhere_finds_its_face_on_the_page(moodex: Run, page: Path) -> None:
    moodex("index", page.parent)
    (hit,) = shown(moodex, "search", next(EXAMPLES.glob("open-peeps/peep-10.*")), "--format", "json")
    assert lies_in(hit["box"], "open-peeps/peep-10.png") and hit["similarity"] > 0.6


def test_a_small_face_is_framed_on_the_contact_sheet(moodex: Run, page: Path) -> None:
    moodex("index", page.parent)
    html = moodex("search", "--emotion", "sad", "--format", "html").stdout.decode()
    (data,) = re.findall(r"data:image/png;base64,([^\"]+)", html)
    thumbnail = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
    assert (thumbnail == (0xE8, 0x83, 0x3A)).all(axis=2).sum() > 100


def test_another_word_for_faces_is_an_error(moodex: Run, page: Path) -> None:
    done = moodex("index", page.parent, "--faces", "maybe")
    assert done.returncode == 2
    assert done.stderr.decode() == "moodex: --faces is 'maybe'; choose on or off.\n"
