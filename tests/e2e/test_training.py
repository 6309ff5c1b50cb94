"""Training from the command line: check data, train, evaluate, compare, and use the trained model."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from models.faces.card import read_card as read_face_card
from tests.e2e.conftest import EXAMPLES, Run
from tests.support import drawn

QUICK_TRAINING = [
    "--weights", "none", "--architecture", "baseline_cnn", "--size", "32", "--epochs", "2", "--pictures-per-epoch", "64",
]  # fmt: skip


FACES = {"happy": "noto/noto-02", "sad": "open-peeps/peep-10"}
"""A laughing face and a sad one among the examples."""


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """Large pages with one small face each: ARTIST/EMOTION/NUMBER.png."""
    for artist, color in (("anna", (214, 228, 240)), ("ben", (240, 228, 214))):
        for emotion, name in FACES.items():
            with Image.open(next(EXAMPLES.glob(f"{name}.*"))) as file:
                face = file.convert("RGBA").resize((150, 150))
            for number in range(2):
                page = Image.new("RGB", (1000, 800), color)
                page.paste(face, (100 + 500 * number, 450), face)
                path = tmp_path / "pages" / artist / emotion / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                page.save(path)
    return tmp_path / "pages"


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    return drawn.two_artists(tmp_path / "faces", count=10, emotions=("happy", "sad", "angry"))


def test_a_trained_model_is_used_by_its_name(moodex: Run, home: Path, faces: Path) -> None:
    trained = moodex("train", faces, "--name", "mine", "--hold-out", "ben", *QUICK_TRAINING)
    assert trained.returncode == 0, trained.stderr.decode()
    out, log = trained.stdout.decode(), trained.stderr.decode()
    assert "On 30 images that it never saw" in out and str(home / "models/mine.safetensors") in out
    assert "60 images by 2 artists" in log and "30 to test on" in log and "Epoch 2: loss" in log
    card = json.loads((home / "models/mine.json").read_text())
    assert card["labels"] == ["happy", "sad", "angry"] and card["architecture"] == "baseline_cnn"
    assert card["about"]["tested"]["by_artist"]["ben"]["n"] == 30
    assert card["about"]["faces"] == read_face_card().key
    assert list((home / "trainings/mine").glob("events.out.tfevents.*"))
    assert moodex("index", faces, "--model", "mine").returncode == 0
    hits = json.loads(moodex("search", "--model", "mine", "--min-score", "0.01", "-k", "99", "-f", "json").stdout)
    assert len(hits) == 60 and set(hits[0]["emotions"]) == {"happy", "sad", "angry"}
    image_counts = {model["name"]: model["images"] for model in json.loads(moodex("models", "list", "--json").stdout)}
    assert image_counts == {"moodex-lite0": 0, "mine": 60}
    again = moodex("train", faces, "--name", "mine", *QUICK_TRAINING)
    assert again.returncode == 2 and b"There is a model 'mine'" in again.stderr


def test_a_model_is_evaluated(moodex: Run, faces: Path, tmp_path: Path) -> None:
    done = moodex("evaluate", "default", faces, "--json")
    assert done.returncode == 0, done.stderr.decode()
    measured = json.loads(done.stdout)
    assert {"n", "accuracy", "balanced_accuracy", "macro_f1", "ece", "per_class", "labels"} <= measured.keys()
    assert measured["n"] == 60 and len(measured["labels"]) == 11
    assert sum(row["support"] for row in measured["per_class"].values()) == 60
    shipped = moodex("evaluate", Path("models/zoo/moodex-lite0.safetensors").absolute(), faces, "--json")
    assert json.loads(shipped.stdout) == measured
    report = moodex("evaluate", "moodex-lite0", faces, "--closed", "--views", "2", "--output", tmp_path / "report")
    assert report.returncode == 0, report.stderr.decode()
    text = report.stdout.decode()
    assert "balanced accuracy" in text and "(95%:" in text and "happy" in text and "pleased" not in text
    for name in ("confusion.png", "reliability.png"):
        with Image.open(tmp_path / "report" / name) as chart:
            assert chart.width > 300
    assert "data:image/png;base64" in (tmp_path / "report/mistakes.html").read_text()


def test_an_image_is_judged_by_its_face_as_in_the_index(moodex: Run, pages: Path) -> None:
    done = moodex("evaluate", "default", pages, "--json")
    assert done.returncode == 0, done.stderr.decode()
    measured = json.loads(done.stdout)
    assert measured["faces"] == read_face_card().key and measured["accuracy"] == 1
    whole = json.loads(moodex("evaluate", "default", pages, "--whole", "--json").stdout)
    assert whole["faces"] == "whole" and whole["accuracy"] < 1
    for evaluation, detection in ((measured, "on"), (whole, "off")):
        for emotion in FACES:
            shown = [
                json.loads(moodex("show", path, "--faces", detection, "--json").stdout)["emotion"]
                for path in sorted(pages.glob(f"*/{emotion}/*.png"))
            ]
            row = evaluation["confusion"][evaluation["labels"].index(emotion)]
            assert row == [shown.count(label) for label in evaluation["labels"]]


def test_the_setting_faces_applies_to_data_sets_too(moodex: Run, home: Path, pages: Path, tmp_path: Path) -> None:
    page, output = next(pages.glob("*/happy/*.png")), tmp_path / "explained.png"
    cropped = json.loads(moodex("explain", page, "--output", output, "--json").stdout)
    explained = json.loads(moodex("explain", page, "--output", output, "--whole", "--json").stdout)
    evaluated = json.loads(moodex("evaluate", "default", pages, "--whole", "--json").stdout)
    assert explained["heat"] != cropped["heat"]
    home.mkdir(exist_ok=True)
    (home / "none.toml").write_text('faces = "off"\n')
    assert json.loads(moodex("explain", page, "--output", output, "--json").stdout) == explained
    assert json.loads(moodex("evaluate", "default", pages, "--json").stdout) == evaluated


def test_an_evaluation_reports_each_artist_and_their_mean(moodex: Run, pages: Path) -> None:
    by_artist = json.loads(moodex("evaluate", "default", pages, "--json").stdout)["by_artist"]
    assert list(by_artist["artists"]) == ["anna", "ben"]
    assert by_artist["artists"]["ben"]["n"] == 4 and by_artist["artists"]["ben"]["chance"] == 0.5
    assert by_artist["artists"]["ben"]["intervals"]["balanced_accuracy"] == [1, 1]
    assert by_artist["mean"]["balanced_accuracy"] == 1 and len(by_artist["mean"]["intervals"]["accuracy"]) == 2
    text = moodex("evaluate", "default", pages).stdout.decode()
    table = text[text.index("artist ") :].splitlines()
    assert table[0].split() == ["artist", "images", "balanced", "accuracy", "(95%)", "accuracy", "ECE"]
    assert table[1].startswith("anna ") and "4  1.000 (1.000 to 1.000)" in table[1]
    assert table[3].startswith("mean of 2 artists ") and "8  1.000 (1.000 to 1.000)" in table[3]
    assert json.loads(moodex("evaluate", "default", pages / "ben", "--json").stdout)["by_artist"] is None
    assert b"artist" not in moodex("evaluate", "default", pages / "ben").stdout


def test_a_data_set_in_the_layout_of_the_study_is_checked_before_training(moodex: Run, tmp_path: Path) -> None:
    ferg = drawn.ferg(tmp_path / "FERG_DB_256", count=12)
    done = moodex("train", ferg, "--check", "--split", "group", "--json")
    assert done.returncode == 0, done.stderr.decode()
    facts = json.loads(done.stdout)
    assert facts["pictures"] == 252 and facts["words"]["happy"] == {"joy": 36}
    text = moodex("train", ferg, "--check").stdout.decode()
    assert "happy             36  (from joy)" in text


def test_a_grid_is_compared_and_a_second_comparison_skips_finished_trainings(moodex: Run, faces: Path, tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text(
        '[every]\nbase = "study"\nsize = 32\nepochs = 2\n\n'
        '[[variant]]\nname = "CNN"\narchitecture = "baseline_cnn"\n\n'
        '[[variant]]\nname = "CNN, dropout"\narchitecture = "baseline_cnn+dropout"\n'
    )
    words = ["compare", faces, "--recipe", tmp_path / "grid.toml", "--split", "random", "--split", "leave-one-group-out",
             "--test", "0.2", "--output", tmp_path / "out"]  # fmt: skip
    done = moodex(*words)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().startswith("| data | split | variant | test balanced |")
    with (tmp_path / "out/results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["split"], row["variant"], row["divisions"]) for row in rows] == [
        ("random", "CNN", "1"), ("random", "CNN, dropout", "1"),
        ("leave-one-group-out", "CNN", "2"), ("leave-one-group-out", "CNN, dropout", "2"),
    ]  # fmt: skip
    assert all(0 <= float(row["test_balanced"]) <= 1 and float(row["images_per_second"]) > 0 for row in rows)
    assert (tmp_path / "out/curves.png").exists() and (tmp_path / "out/speed.png").exists()
    again = moodex(*words, "--json")
    assert again.stderr.decode().count("finished before") == 4 and b"Epoch" not in again.stderr
    assert len(json.loads(again.stdout)) == 4
    assert {row["faces"] for row in json.loads(again.stdout)} == {read_face_card().key}
    whole = moodex(*words, "--only", "CNN", "--whole", "--json")
    assert b"finished before" not in whole.stderr and {row["faces"] for row in json.loads(whole.stdout)} == {"whole"}


def test_unusable_data_and_options_are_errors_of_one_sentence(moodex: Run, faces: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    drawn.draw(tmp_path / "one/happy/0.png", 0)
    drawn.draw(tmp_path / "odd/happy/0.png", 0)
    drawn.draw(tmp_path / "odd/gloomyish/0.png", 90)
    (tmp_path / "bad.csv").write_text("file,label\na.png,happy\n")
    for folder in ("happy", "sad"):
        (tmp_path / "broken" / folder).mkdir(parents=True)
        (tmp_path / "broken" / folder / "0.png").write_bytes(b"not an image")
    for arguments, sentence in (
        (["train", tmp_path / "none", "--name", "x"], "does not exist"),
        (["train", tmp_path / "empty", "--name", "x"], "has no images in folders named after emotions"),
        (["train", tmp_path / "one", "--name", "x"], "fewer than two emotions"),
        (["train", tmp_path / "odd", "--name", "x"], "are not emotions: 'gloomyish'"),
        (["train", tmp_path / "bad.csv", "--name", "x"], "lacks the column path"),
        (["train", tmp_path / "broken", "--name", "x"], "None of the images can be read"),
        (["train", faces], "--name NAME"),
        (["train", faces, "--name", "x", "--recipe", "magic"], "There is no recipe 'magic'"),
        (["train", faces, "--name", "x", "--set", "epoch=3"], "not a field of a recipe"),
        (["train", faces, "--name", "x", "--split", "k-fold"], "moodex compare"),
        (["evaluate", "default", tmp_path / "none"], "does not exist"),
        (["compare", faces, "--only", "VGG*"], "No variant matches 'VGG*'"),
    ):
        done = moodex(*arguments)
        assert (done.returncode, sentence in done.stderr.decode()) == (2, True), (arguments, done.stderr.decode())
        assert b"Traceback" not in done.stderr
    done = moodex("evaluate", "nobody", faces)
    assert done.returncode == 6 and b"Unknown model 'nobody'" in done.stderr
