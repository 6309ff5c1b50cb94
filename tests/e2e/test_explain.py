"""Explanations of a model, for one image and for a data set."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from tests.e2e.conftest import EXAMPLES, Run
from tests.support import drawn
from tests.support.archives import zipped

HEAD = EXAMPLES / "bigheads/head-06.png"
CALM_TO_HAPPY = ("lorelei/lorelei-03.png", "lorelei/lorelei-08.png", "noto/noto-02.png")


def test_one_image_is_explained(moodex: Run, tmp_path: Path) -> None:
    default = moodex("explain", HEAD, "--output", tmp_path / "default.png", "--json")
    assert default.returncode == 0, default.stderr.decode()
    facts = json.loads(default.stdout)
    assert facts["emotion"] == "happy" and facts["probability"] > 0.5 and facts["method"] == "grad-cam"
    heat = facts["heat"]
    assert len(heat) == len(heat[0]) and max(max(row) for row in heat) == 1 and min(min(row) for row in heat) >= 0
    with Image.open(tmp_path / "default.png") as image:
        assert image.width > 500
    chosen = moodex("explain", HEAD, "-e", "joy", "--method", "occlusion", "--output", tmp_path / "chosen.png")
    assert chosen.returncode == 0, chosen.stderr.decode()
    assert chosen.stdout.decode().startswith("happy 0.") and str(tmp_path / "chosen.png") in chosen.stdout.decode()
    other = moodex("explain", HEAD, "-e", "angry", "--output", tmp_path / "other.png", "--json")
    assert json.loads(other.stdout)["emotion"] == "angry" and json.loads(other.stdout)["heat"] != heat


def test_an_image_in_an_archive_is_explained_like_the_file(moodex: Run, tmp_path: Path) -> None:
    book = tmp_path / "book.cbz"
    book.write_bytes(zipped({"head.png": HEAD.read_bytes()}))
    alone, inside = (moodex("explain", path, "--output", tmp_path / "out.png", "--json") for path in (HEAD, book / "head.png"))
    assert {**json.loads(inside.stdout), "path": ""} == {**json.loads(alone.stdout), "path": ""}
    missing = moodex("explain", book / "other.png", "--output", tmp_path / "out.png")
    assert missing.returncode == 2 and b"No such file" in missing.stderr


def test_the_frame_that_show_names_is_explained(moodex: Run, tmp_path: Path) -> None:
    """The first frame of the animation is another face than the one with the strongest expression."""
    animation = tmp_path / "animation.gif"
    frames = [Image.open(EXAMPLES / name).convert("RGB").resize((200, 200)) for name in CALM_TO_HAPPY]
    frames[0].save(animation, save_all=True, append_images=frames[1:], duration=100)
    shown = json.loads(moodex("show", animation, "--json").stdout)
    explained = json.loads(moodex("explain", animation, "--output", tmp_path / "out.png", "--json").stdout)
    assert shown["frame"] == explained["frame"] > 1
    assert explained["emotion"] == shown["emotion"]
    assert abs(explained["probability"] - shown["score"]) < 0.02
    words = moodex("explain", animation, "--output", tmp_path / "out.png").stdout.decode()
    assert f"in frame {shown['frame']}, by grad-cam" in words
    assert "frame" not in json.loads(moodex("explain", HEAD, "--output", tmp_path / "out.png", "--json").stdout)


def test_a_data_set_is_explained(moodex: Run, tmp_path: Path) -> None:
    faces = drawn.two_artists(tmp_path / "faces", count=4)
    done = moodex("explain", faces, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr.decode()
    text = done.stdout.decode()
    assert "emotion        images" in text and "Deletion test of grad-cam" in text
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"emotions.png", "deletion.png"}
    facts = json.loads(moodex("explain", faces, "--output", tmp_path / "out", "--json").stdout)
    assert facts["deletion"]["pictures"] == 16 and list(facts["emotions"]) == ["happy", "sad"]
    for thirds in facts["emotions"].values():
        assert thirds["pictures"] == 8 and abs(thirds["upper"] + thirds["middle"] + thirds["lower"] - 1) < 0.01


def test_unusable_requests_are_errors_of_one_sentence(moodex: Run, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not an image")
    faces = drawn.two_artists(tmp_path / "faces", count=1)
    for arguments, code, sentence in (
        ([tmp_path / "none.png"], 2, "none.png cannot be used: No such file or directory"),
        ([tmp_path / "text.png"], 2, "text.png cannot be used"),
        ([HEAD, "-e", "hungry"], 2, "hungry"),
        ([HEAD, "--method", "guess"], 2, "choose grad-cam, integrated-gradients, occlusion"),
        ([faces, "-e", "happy"], 2, "emotion by emotion"),
        ([HEAD, "--output", tmp_path / "heat.txt"], 2, "a name that ends in .png"),
        ([tmp_path], 2, "holds no images"),
        ([HEAD, "--model", "nobody"], 6, "Unknown model 'nobody'"),
    ):
        done = moodex("explain", *arguments)
        assert (done.returncode, sentence in done.stderr.decode()) == (code, True), (arguments, done.stderr.decode())
        assert b"Traceback" not in done.stderr
