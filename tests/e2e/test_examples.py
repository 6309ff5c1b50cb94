"""The shipped model on the example images, through the command line."""

from __future__ import annotations

import csv
import json
import os
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.conftest import EXAMPLES, Run

EXAMPLE_COUNT = sum(1 for path in EXAMPLES.rglob("*") if path.suffix != ".md" and path.is_file())
HIT_FIELDS = ["path", "image_id", "emotion", "score", "emotions", "similarity"]


def search(examples_moodex: Run, *arguments: str | Path) -> list[dict[str, object]]:
    """Return the hits of a search in the example images."""
    done = examples_moodex("search", *arguments, "--format", "json")
    assert done.returncode == 0, done.stderr.decode()
    result: list[dict[str, object]] = json.loads(done.stdout)
    return result


def test_every_example_is_indexed_and_found(examples_moodex: Run) -> None:
    hits = search(examples_moodex, "--min-score", "0.01", "-k", "1000")
    assert len(hits) == EXAMPLE_COUNT >= 60
    assert all(list(hit)[: len(HIT_FIELDS)] == HIT_FIELDS and set(hit) <= {*HIT_FIELDS, "box", "size"} for hit in hits)
    for hit in hits:
        emotions = hit["emotions"]
        assert isinstance(emotions, dict)
        assert hit["score"] == max(emotions.values()) == emotions[hit["emotion"]]
        assert sum(emotions.values()) == pytest.approx(1, abs=1e-3)
        assert hit["similarity"] is None
        assert Path(str(hit["path"])).is_absolute()
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)  # type: ignore[type-var]


def test_the_top_hits_for_joy_are_labeled_happy_or_pleased(examples_moodex: Run) -> None:
    with (EXAMPLES.parent / "labels.csv").open(newline="") as file:
        labels = {EXAMPLES.parent / row["path"]: row["label"] for row in csv.DictReader(file)}
    assert len(labels) == EXAMPLE_COUNT
    top = search(examples_moodex, "--emotion", "joy", "-k", "10")
    assert len(top) == 10
    correct = [labels[Path(str(hit["path"]))] in ("happy", "pleased") for hit in top]
    assert sum(correct) >= 9, [hit["path"] for hit, ok in zip(top, correct, strict=True) if not ok]


def test_similar_images_with_another_emotion_are_found(examples_moodex: Run) -> None:
    head = EXAMPLES / "bigheads/head-01.png"
    hits = search(examples_moodex, "--like", head, "--emotion", "sad", "-k", "5")
    assert {hit["emotion"] for hit in hits} <= {"sad", "crying"}
    similarities = [hit["similarity"] for hit in hits]
    assert similarities == sorted(similarities, reverse=True)  # type: ignore[type-var]
    assert hits == search(examples_moodex, head, "--emotion", "sad", "-k", "5")


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv", "paths", "html"])
def test_every_format_shows_the_same_images(examples_moodex: Run, form: str) -> None:
    expected = [Path(str(hit["path"])).name for hit in search(examples_moodex, "--emotion", "happy", "-k", "7")]
    done = examples_moodex("search", "--emotion", "happy", "-k", "7", "--format", form)
    assert done.returncode == 0
    offsets = [done.stdout.index(name.encode()) for name in expected]
    assert offsets == sorted(offsets)


def test_paths_end_with_a_line_break_or_a_null_byte(examples_moodex: Run) -> None:
    lines = examples_moodex("search", "-e", "happy", "-k", "3", "--format", "paths").stdout
    nulls = examples_moodex("search", "-e", "happy", "-k", "3", "-0").stdout
    assert lines.count(b"\n") == nulls.count(b"\0") == 3
    assert lines.replace(b"\n", b"\0") == nulls
    assert all(os.path.exists(path) for path in nulls.split(b"\0")[:-1])


def test_csv_has_one_column_for_each_emotion(examples_moodex: Run) -> None:
    rows = list(csv.DictReader(examples_moodex("search", "-e", "happy", "-k", "2", "-f", "csv").stdout.decode().splitlines()))
    assert [float(row["score"]) for row in rows] == [float(row[row["emotion"]]) for row in rows]


def test_a_contact_sheet_contains_its_images(examples_moodex: Run) -> None:
    sources: list[str] = []

    class SourceParser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            sources.extend(value or "" for name, value in attrs if name == "src")

    SourceParser().feed(examples_moodex("search", "-e", "happy", "-k", "6", "-f", "html").stdout.decode())
    assert len(sources) == 6
    assert all(source.startswith("data:image/png;base64,") for source in sources)


def test_show_draws_bars_and_agrees_with_search(examples_moodex: Run) -> None:
    path = EXAMPLES / "noto/noto-01.png"
    (hit,) = search(examples_moodex, "--like", path, "-k", "1")
    shown = json.loads(examples_moodex("show", path, "--json").stdout)
    assert shown == hit | {"similarity": None}
    bars = examples_moodex("show", path).stdout.decode()
    assert str(hit["emotion"]) in bars.splitlines()[2]
    assert "█" in bars


def test_show_analyzes_an_image_that_is_not_indexed(moodex: Run) -> None:
    path = EXAMPLES / "noto/noto-01.png"
    computed = json.loads(moodex("show", path, "--json").stdout)
    moodex("index", path)
    stored = json.loads(moodex("show", path, "--json").stdout)
    assert computed["emotion"] == stored["emotion"]
    assert computed["score"] == pytest.approx(stored["score"], abs=1e-3)


def test_status_and_models_count_the_images(examples_moodex: Run) -> None:
    status = json.loads(examples_moodex("status", "--json").stdout)
    assert status["files"] == {"done": EXAMPLE_COUNT}
    assert status["models"][0]["images"] == status["images"]
    assert status["runs"][0]["outcome"] == "done"
    assert f"{EXAMPLE_COUNT} done, 0 failed" in examples_moodex("status").stdout.decode()
    (model,) = json.loads(examples_moodex("models", "list", "--json").stdout)
    assert (model["name"], model["default"], model["origin"], model["images"]) == (
        "moodex-lite0",
        True,
        "shipped",
        status["images"],
    )
    assert "* moodex-lite0" in examples_moodex("models", "list").stdout.decode()


def test_dedupe_recognizes_smaller_copies_in_another_format(moodex: Run, tmp_path: Path) -> None:
    for head in sorted((EXAMPLES / "bigheads").glob("*.png"))[:4]:
        with Image.open(head) as image:
            small = image.convert("RGB").resize((image.width * 7 // 10, image.height * 7 // 10))
        shutil.copy(head, tmp_path)
        small.save(tmp_path / f"{head.stem}-copy.jpg", quality=60)
    assert moodex("index", tmp_path).returncode == 0
    everything = json.loads(moodex("search", "--min-score", "0.01", "-f", "json").stdout)
    distinct = json.loads(moodex("search", "--min-score", "0.01", "--dedupe", "-f", "json").stdout)
    assert (len(everything), len(distinct)) == (8, 4)
