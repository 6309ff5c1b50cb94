"""User labels from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from tests.e2e.conftest import EXAMPLES, Run

HEADS = EXAMPLES / "bigheads"


def test_labels_are_added_listed_compared_with_the_model_and_removed(moodex: Run, tmp_path: Path) -> None:
    assert moodex("index", HEADS).returncode == 0
    head = HEADS / "head-06.png"
    done = moodex("label", head, "--emotion", "furious")
    assert (done.returncode, done.stdout) == (0, b"Changed the labels of 1 image.\n"), done.stderr.decode()
    (hit,) = json.loads(moodex("search", "--emotion", "angry", "--min-score", "1", "-f", "json").stdout)
    assert hit["path"] == str(head) and hit["label"] == "angry" and hit["emotions"]["happy"] > 0.5
    assert b"Your label: angry. The model predicts:" in moodex("show", head).stdout
    (conflict,) = json.loads(moodex("doubts", "--json").stdout)
    assert (conflict["path"], conflict["said"], conflict["other"]) == (str(head), "angry", "happy")
    assert "angry 0.0" in moodex("doubts").stdout.decode()
    listed = moodex("label", "--list")
    (row,) = csv.DictReader(listed.stdout.decode().splitlines())
    assert (row["path"], row["label"], row["image_id"]) == (str(head), "angry", hit["image_id"])
    (tmp_path / "labels.csv").write_bytes(listed.stdout)
    assert json.loads(moodex("label", head, "--remove", "--json").stdout) == {"changed": 1, "unchanged": 0}
    assert moodex("label", tmp_path / "labels.csv").stdout == b"Changed the labels of 1 image.\n"


def test_an_invalid_label_command_is_refused_with_a_reason(moodex: Run, tmp_path: Path) -> None:
    head = HEADS / "head-08.png"
    assert moodex("label", head, "-e", "sad").returncode == 2
    assert moodex("index", HEADS).returncode == 0
    utf16 = tmp_path / "sixteen.csv"
    utf16.write_bytes("path,label\na.png,sad\n".encode("utf-16"))
    for arguments, sentence in (
        ([head], "--emotion EMOTION, or --remove"),
        ([head, "-e", "sad", "--remove"], "not both"),
        ([head, "-e", "smugg"], "--new"),
        (["-e", "sad"], "Give the images to label"),
        (["--list", head], "--list shows every label"),
        ([tmp_path, "-e", "sad"], "No indexed image is at"),
        ([tmp_path / "none.csv"], "Cannot read the table"),
        (["", "-e", "sad"], "An argument is empty"),
        ([head, "--emotion="], "An argument is empty"),
        ([tmp_path / "none.csv", "-e", "sad"], "CSV files contain the emotions"),
        ([utf16], "Save tables as UTF-8, with commas"),
    ):
        done = moodex("label", *arguments)
        assert (done.returncode, sentence in done.stderr.decode()) == (2, True), (arguments, done.stderr.decode())


def test_a_folder_may_be_named_like_a_table_and_unicode_forms_of_an_emotion_are_equal(moodex: Run, tmp_path: Path) -> None:
    folder = tmp_path / "faces.csv"
    folder.mkdir()
    for number, head in enumerate(sorted(HEADS.glob("*.png"))[:2]):
        (folder / f"{number}.png").write_bytes(head.read_bytes())
    assert moodex("index", folder, "--faces", "off").returncode == 0
    assert moodex("label", folder, "-e", "sad").stdout == b"Changed the labels of 2 images.\n"
    assert moodex("label", folder / "0.png", "-e", "Gef\u00fchl", "--new").returncode == 0
    assert moodex("label", folder / "1.png", "-e", "Gefu\u0308hl").returncode == 0
    assert len(json.loads(moodex("search", "-e", "gef\u00fchl", "-f", "json").stdout)) == 2


def test_files_behind_links_keep_the_paths_by_which_they_were_indexed(moodex: Run, tmp_path: Path) -> None:
    heads = sorted(HEADS.glob("*.png"))[:3]
    for number, head in enumerate(heads):
        file = tmp_path / "real" / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(head.read_bytes())
    library = tmp_path / "library"
    library.mkdir()
    (library / "folder").symlink_to(tmp_path / "real")
    (library / "link.png").symlink_to(tmp_path / "real/0.png")
    assert moodex("index", library, "--follow-symlinks", "--faces", "off").returncode == 0
    assert moodex("label", library / "folder", "-e", "angry").stdout == b"Changed the labels of 3 images.\n"
    hits = json.loads(moodex("search", "-e", "angry", "--under", library / "folder", "-f", "json").stdout)
    assert {hit["path"] for hit in hits} == {f"{library}/folder/{number}.png" for number in range(3)}
    assert b"Your label: angry" in moodex("show", library / "link.png").stdout
    assert moodex("search", "--like", library / "link.png").returncode == 0


def test_a_changed_image_is_not_labeled_as_the_indexed_one(moodex: Run, tmp_path: Path) -> None:
    first, second, *_ = sorted(HEADS.glob("*.png"))
    image = tmp_path / "library/image.png"
    image.parent.mkdir()
    image.write_bytes(first.read_bytes())
    assert moodex("index", image.parent, "--faces", "off").returncode == 0
    image.write_bytes(second.read_bytes())
    done = moodex("label", image, "-e", "sad")
    assert done.returncode == 2 and b"has changed since it was indexed" in done.stderr
    assert moodex("index", image.parent, "--faces", "off").returncode == 0
    assert moodex("label", image, "-e", "sad").returncode == 0
    image.unlink()
    assert moodex("label", image, "-e", "angry").returncode == 0
