"""Several faces on one page, through the command line."""

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

FACE_CORNERS = {"noto/noto-02.png": (60, 80), "open-peeps/peep-10.png": (480, 300)}
"""The left and top edge of each face on the page, in pixels: a laughing face and a sad one."""

FACE_SIDE_PIXELS = 180


@pytest.fixture
def page(tmp_path: Path) -> Path:
    sheet = Image.new("RGB", (800, 600), (214, 228, 240))
    for name, corner in FACE_CORNERS.items():
        with Image.open(next(EXAMPLES.glob(name.replace(".png", ".*")))) as file:
            face = file.convert("RGBA").resize((FACE_SIDE_PIXELS, FACE_SIDE_PIXELS))
        sheet.paste(face, corner, face)
    path = tmp_path / "images" / "page.png"
    path.parent.mkdir()
    sheet.save(path)
    return path


def json_output(moodex: Run, *arguments: object) -> Any:
    """Assert that a command succeeded; return the JSON that it printed."""
    done = moodex(*arguments)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def is_on_face(box: list[int], name: str) -> bool:
    """Return whether the center of a box is on a face."""
    left, top = FACE_CORNERS[name]
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return left < x < left + FACE_SIDE_PIXELS and top < y < top + FACE_SIDE_PIXELS


def test_a_page_is_found_by_either_of_its_faces(moodex: Run, page: Path) -> None:
    assert json_output(moodex, "index", page.parent, "--json")["indexed"] == 1
    for emotion, name in zip(("happy", "sad"), FACE_CORNERS, strict=True):
        (hit,) = json_output(moodex, "search", "--emotion", emotion, "--format", "json")
        assert is_on_face(hit["box"], name)
        assert hit["score"] == max(hit["emotions"].values())
    assert json_output(moodex, "search", "--emotion", "happy", "--not", "sad", "--format", "json") == []
    table = moodex("search", "--emotion", "happy").stdout.decode()
    assert "FACE" in table and re.search(r" \d+x\d+\+\d+\+\d+ ", table)
    rows = moodex("search", "--emotion", "happy", "--format", "csv").stdout.decode().splitlines()
    assert rows[0].endswith(",box") and len(rows[1].split(",")[-1].split()) == 4


def test_show_prints_every_face(moodex: Run, page: Path) -> None:
    hit = json_output(moodex, "show", page, "--json")
    assert len(hit["faces"]) == 2 and hit["box"] == hit["faces"][0]["box"]
    bars = moodex("show", page).stdout.decode()
    assert "face 1 of 2 at " in bars and "face 2 of 2 at " in bars
    moodex("index", page.parent)
    assert moodex("show", page).stdout.decode() == bars
    assert "box" not in json_output(moodex, "show", page, "--faces", "off", "--json")


def test_face_detection_can_be_switched_off_and_on_again(moodex: Run, page: Path) -> None:
    assert json_output(moodex, "index", page.parent, "--faces", "off", "--json")["indexed"] == 1
    (hit,) = json_output(moodex, "search", "--under", page.parent, "--format", "json")
    assert "box" not in hit
    assert "face at" not in moodex("show", page).stdout.decode()
    assert json_output(moodex, "index", page.parent, "--json")["indexed"] == 1
    (hit,) = json_output(moodex, "search", "--under", page.parent, "--format", "json")
    assert len(hit["box"]) == 4


def test_a_query_image_finds_its_face_on_the_page(moodex: Run, page: Path) -> None:
    moodex("index", page.parent)
    (hit,) = json_output(moodex, "search", next(EXAMPLES.glob("open-peeps/peep-10.*")), "--format", "json")
    assert is_on_face(hit["box"], "open-peeps/peep-10.png") and hit["similarity"] > 0.6


def test_a_small_face_is_framed_on_the_contact_sheet(moodex: Run, page: Path) -> None:
    moodex("index", page.parent)
    html = moodex("search", "--emotion", "sad", "--format", "html").stdout.decode()
    (data,) = re.findall(r"data:image/png;base64,([^\"]+)", html)
    thumbnail = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
    assert (thumbnail == (0xE8, 0x83, 0x3A)).all(axis=2).sum() > 100


def test_another_value_of_the_faces_option_is_an_error(moodex: Run, page: Path) -> None:
    done = moodex("index", page.parent, "--faces", "maybe")
    assert done.returncode == 2
    assert done.stderr.decode() == "moodex: --faces is 'maybe'; choose on or off.\n"
