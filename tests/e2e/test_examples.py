"""The shipped model on the example pictures, through the command line."""

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

PICTURES = sum(1 for path in EXAMPLES.rglob("*") if path.suffix != ".md" and path.is_file())
FIELDS = ["path", "image_id", "emotion", "score", "emotions", "similarity"]


def hits(stocked: Run, *arguments: str | Path) -> list[dict[str, object]]:
    done = stocked("search", *arguments, "--format", "json")
    assert done.returncode == 0, done.stderr.decode()
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


def test_every_example_is_indexed_and_found(stocked: Run) -> None:
    found = hits(stocked, "--min-score", "0.01", "-k", "1000")
    assert len(found) == PICTURES >= 60
    assert all(list(hit)[: len(FIELDS)] == FIELDS and set(hit) <= {*FIELDS, "box"} for hit in found)
    for hit in found:
        emotions = hit["emotions"]
        assert isinstance(emotions, dict)
        assert hit["score"] == max(emotions.values()) == emotions[hit["emotion"]]
        assert sum(emotions.values()) == pytest.approx(1, abs=1e-3)
        assert hit["similarity"] is None
        assert Path(str(hit["path"])).is_absolute()
    scores = [hit["score"] for hit in found]
    assert scores == sorted(scores, reverse=True)  # type: ignore[type-var]


def test_the_happy_ones_are_happy(stocked: Run) -> None:
    with (EXAMPLES.parent / "labels.csv").open(newline="") as file:
        labels = {EXAMPLES / row["path"]: row["emotion"] for row in csv.DictReader(file)}
    assert len(labels) == PICTURES
    top = hits(stocked, "--emotion", "joy", "-k", "10")
    assert len(top) == 10
    right = [labels[Path(str(hit["path"]))] in ("happy", "pleased") for hit in top]
    assert sum(right) >= 9, [hit["path"] for hit, ok in zip(top, right, strict=True) if not ok]


def test_this_character_but_sad(stocked: Run) -> None:
    head = EXAMPLES / "bigheads/head-01.png"
    found = hits(stocked, "--like", head, "--emotion", "sad", "-k", "5")
    assert {hit["emotion"] for hit in found} <= {"sad", "crying"}
    similarities = [hit["similarity"] for hit in found]
    assert similarities == sorted(similarities, reverse=True)  # type: ignore[type-var]
    assert found == hits(stocked, head, "--emotion", "sad", "-k", "5")


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv", "paths", "html"])
def test_every_format_shows_the_same_pictures(stocked: Run, form: str) -> None:
    expected = [Path(str(hit["path"])).name for hit in hits(stocked, "--emotion", "happy", "-k", "7")]
    done = stocked("search", "--emotion", "happy", "-k", "7", "--format", form)
    assert done.returncode == 0
    places = [done.stdout.index(name.encode()) for name in expected]
    assert places == sorted(places)


def test_paths_end_as_asked(stocked: Run) -> None:
    lines = stocked("search", "-e", "happy", "-k", "3", "--format", "paths").stdout
    nulls = stocked("search", "-e", "happy", "-k", "3", "-0").stdout
    assert lines.count(b"\n") == nulls.count(b"\0") == 3
    assert lines.replace(b"\n", b"\0") == nulls
    assert all(os.path.exists(path) for path in nulls.split(b"\0")[:-1])


def test_csv_has_a_column_an_emotion(stocked: Run) -> None:
    rows = list(csv.DictReader(stocked("search", "-e", "happy", "-k", "2", "-f", "csv").stdout.decode().splitlines()))
    assert [float(row["score"]) for row in rows] == [float(row[row["emotion"]]) for row in rows]


def test_a_contact_sheet_needs_nothing_else(stocked: Run) -> None:
    sources: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            sources.extend(value or "" for name, value in attrs if name == "src")

    Links().feed(stocked("search", "-e", "happy", "-k", "6", "-f", "html").stdout.decode())
    assert len(sources) == 6
    assert all(source.startswith("data:image/png;base64,") for source in sources)


def test_show_draws_bars_and_agrees_with_search(stocked: Run) -> None:
    path = EXAMPLES / "noto/noto-01.png"
    (hit,) = hits(stocked, "--like", path, "-k", "1")
    shown = json.loads(stocked("show", path, "--json").stdout)
    assert shown == hit | {"similarity": None}
    bars = stocked("show", path).stdout.decode()
    assert str(hit["emotion"]) in bars.splitlines()[2]
    assert "█" in bars


def test_show_looks_at_a_picture_that_is_not_indexed(stocked: Run, moodex: Run) -> None:
    path = EXAMPLES / "noto/noto-01.png"
    known, fresh = (json.loads(run("show", path, "--json").stdout) for run in (stocked, moodex))
    assert fresh["emotion"] == known["emotion"]
    assert fresh["score"] == pytest.approx(known["score"], abs=1e-3)


def test_status_and_models_say_what_there_is(stocked: Run) -> None:
    status = json.loads(stocked("status", "--json").stdout)
    assert status["files"] == {"done": PICTURES}
    assert status["models"][0]["images"] == status["images"]
    assert status["runs"][0]["outcome"] == "done"
    assert f"{PICTURES} done, 0 failed" in stocked("status").stdout.decode()
    (model,) = json.loads(stocked("models", "list", "--json").stdout)
    assert (model["name"], model["default"], model["origin"], model["images"]) == (
        "moodex-lite0",
        True,
        "shipped",
        status["images"],
    )
    assert "* moodex-lite0" in stocked("models", "list").stdout.decode()


def test_a_smaller_copy_that_was_saved_again_is_one_picture(moodex: Run, tmp_path: Path) -> None:
    for head in sorted((EXAMPLES / "bigheads").glob("*.png"))[:4]:
        with Image.open(head) as picture:
            small = picture.convert("RGB").resize((picture.width * 7 // 10, picture.height * 7 // 10))
        shutil.copy(head, tmp_path)
        small.save(tmp_path / f"{head.stem}-copy.jpg", quality=60)
    assert moodex("index", tmp_path).returncode == 0
    everything = json.loads(moodex("search", "--min-score", "0.01", "-f", "json").stdout)
    distinct = json.loads(moodex("search", "--min-score", "0.01", "--dedupe", "-f", "json").stdout)
    assert (len(everything), len(distinct)) == (8, 4)
