"""Models of a hub as a user meets them: index, search by tag and emotion, label, teach, calibrate, blend, compare."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from tests.e2e.conftest import Run
from tests.e2e.test_contract import assert_one_sentence_error
from tests.support import hub
from tests.support.web import API, answer, browsing, problem
from web import schemas

MOODS = ("smile", "crying", "angry")
EMOTIONS = {"smile": "happy", "crying": "crying", "angry": "angry"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache with a stand-in tagger, and no connection."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf/hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    yield hub.write_cache(tmp_path / "hf", "Some/tagger", hub.wd_files())


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_moods(tmp_path / "images", 4)


def write_moods(folder: Path, count: int, first_seed: int = 0) -> Path:
    """Write images of three moods, in a folder for each emotion."""
    for kind, mood in enumerate(MOODS):
        (folder / EMOTIONS[mood]).mkdir(parents=True)
        for number in range(count):
            hub.draw_mood(mood, first_seed + 100 * kind + number).save(folder / EMOTIONS[mood] / f"{number}.png")
    return folder


def output(result: subprocess.CompletedProcess[bytes]) -> str:
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def hits(moodex: Run, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(output(moodex("search", "-f", "json", "-k", "50", *words)))
    return found


def moods(found: list[dict[str, Any]]) -> set[str]:
    return {Path(hit["path"]).parent.name for hit in found}


def test_tags_filter_over_http(moodex: Run, images: Path, home: Path) -> None:
    output(moodex("models", "add", "hf:Some/tagger"))
    output(moodex("models", "default", "tagger"))
    output(moodex("index", images))
    with browsing(home) as client:
        for route, schema in (("images", schemas.CountedPage), ("search", schemas.SearchAnswer)):
            found = answer(client.get(f"{API}/{route}", params={"tag": "Crying", "not_tag": "smile"}), schema)["hits"]
            assert moods(found) == {"crying"}
        assert found[0]["tags"]["crying"] > 0.5
        shown = answer(client.get(f"{API}/images/{found[0]['image_id']}"), schemas.Image)
        assert shown["tags"] == found[0]["tags"]
        assert sum(one["count"] for one in client.get(f"{API}/emotions", params={"tag": "crying"}).json()["emotions"]) >= 4
        assert "No image has the tag" in problem(client.get(f"{API}/search", params={"tag": "green"}), 400)


def test_a_user_tags_searches_labels_and_teaches(moodex: Run, images: Path) -> None:
    added = moodex("models", "add", "hf:Some/tagger")
    assert output(added) == "tagger\n"
    output(moodex("models", "default", "tagger"))
    assert "12 indexed" in output(moodex("index", images))
    assert moods(hits(moodex, "--tag", "smile", "--not-tag", "crying", "--emotion", "happy")) == {"happy"}
    assert len(hits(moodex, "--tag", "1girl")) == 12
    found = hits(moodex, "--tag", "Crying")
    assert moods(found) == {"crying"}
    assert found[0]["tags"]["crying"] > 0.5
    shown = output(moodex("show", images / "happy/0.png"))
    assert "tags: " in shown
    assert "smile" in shown
    assert len(hits(moodex, str(images / "happy/0.png"), "--tag", "smile")) == 4
    # Whatever the tagger takes for happy is sad for this user.
    for kind, emotion in (("happy", "sad"), ("crying", "surprise"), ("angry", "angry")):
        for number in range(4 if kind != "angry" else 3):
            output(moodex("label", images / kind / f"{number}.png", "--emotion", emotion))
    write_moods(images / "new", 3, first_seed=50)
    taught = output(moodex("teach"))
    assert "tagger-taught-1" in taught
    output(moodex("index", images))
    new = hits(moodex, "--under", str(images / "new"), "--emotion", "sad", "--tag", "smile")
    assert moods(new) == {"happy"}, "new images are classified as taught, and keep their tags"


def test_calibration_changes_stored_predictions_without_the_images(moodex: Run, images: Path, tmp_path: Path) -> None:
    output(moodex("models", "add", "hf:Some/tagger"))
    output(moodex("index", images, "--model", "tagger"))
    before = hits(moodex, "--model", "tagger", "--emotion", "happy")
    report = json.loads(output(moodex("models", "calibrate", "tagger", write_moods(tmp_path / "set", 8, 500), "--json")))
    assert report["changed"]
    assert report["log_loss_after"] < report["log_loss_before"]
    assert report["rescored"] == 12
    after = hits(moodex, "--model", "tagger", "--emotion", "happy")
    assert [hit["path"] for hit in after] != []
    assert max(hit["score"] for hit in after) != max(hit["score"] for hit in before)
    assert "12 unchanged" in output(moodex("index", images, "--model", "tagger")), "nothing is classified again"


def test_a_blend_is_searched_and_follows_new_images(moodex: Run, images: Path, tmp_path: Path) -> None:
    hub.write_cache(tmp_path / "hf", "Some/other", hub.wd_files())
    for name in ("tagger", "other"):
        output(moodex("models", "add", f"hf:Some/{name}"))
    output(moodex("models", "add", "hf:Some/other", "--channels", "rgb", "--force"))
    for name in ("tagger", "other"):
        output(moodex("index", images, "--model", name))
    for number in range(4):
        for emotion in ("happy", "crying", "angry"):
            output(moodex("label", images / emotion / f"{number}.png", "--emotion", emotion))
    report = json.loads(output(moodex("models", "blend", "both", "tagger", "other", "--json")))
    assert report["weights"]["tagger"] > report["weights"]["other"], "the other one sees red as blue"
    assert (report["labels"], report["derived"]) == (12, 12)
    rows = json.loads(output(moodex("compare-models", write_moods(tmp_path / "set", 5, 700), "both", "tagger", "--json")))
    assert {row["model"]: row["accuracy"] for row in rows} == {"both": 1.0, "tagger": 1.0}
    measured = json.loads(output(moodex("evaluate", "both", tmp_path / "set", "--json")))
    assert (measured["accuracy"], measured["n"]) == (1.0, 15)
    write_moods(images / "new", 2, first_seed=900)
    summary = output(moodex("index", images, "--model", "tagger", "--model", "other"))
    assert "with tagger and other" in summary
    found = hits(moodex, "--model", "both", "--emotion", "happy", "--tag", "smile", "--under", str(images / "new"))
    assert moods(found) == {"happy"}
    assert len(found) == 2
    assert_one_sentence_error(moodex("index", images, "--model", "both"), 2, "is a blend")
    assert_one_sentence_error(moodex("models", "blend", "one", "tagger"), 2, "at least two")
    output(moodex("models", "default", "both"))
    assert_one_sentence_error(moodex("teach"), 2, "is a blend, which cannot be taught")
    output(moodex("models", "remove", "other"))
    assert_one_sentence_error(moodex("evaluate", "both", tmp_path / "set"), 6, "needs 'tagger' and 'other' as they were")


def test_models_are_compared_on_labeled_images(moodex: Run, tmp_path: Path) -> None:
    hub.write_cache(tmp_path / "hf", "Some/other", hub.wd_files())
    output(moodex("models", "add", "hf:Some/tagger"))
    output(moodex("models", "add", "hf:Some/other", "--channels", "rgb"))
    rows = json.loads(output(moodex("compare-models", write_moods(tmp_path / "set", 5), "other", "tagger", "--json")))
    assert [row["model"] for row in rows] == ["tagger", "other"]
    assert rows[0]["accuracy"] == 1.0
    assert rows[1]["behind_interval"][0] > 0
    table = output(moodex("compare-models", tmp_path / "set", "other", "tagger"))
    assert "behind the best" in table
    assert table.splitlines()[-1].startswith("Best on your 15 images: tagger.")
    twins = output(moodex("compare-models", tmp_path / "set", "tagger", "default"))
    assert twins.count("(") >= 2 and "images" in twins.splitlines()[-1]


def test_two_models_are_indexed_in_one_pass_and_searched_together(moodex: Run, images: Path) -> None:
    output(moodex("models", "add", "hf:Some/tagger"))
    summary = json.loads(output(moodex("index", images, "--model", "moodex-lite0", "--model", "tagger", "--json")))
    assert (summary["indexed"], summary["model"]) == (12, "moodex-lite0 and tagger")
    (run,) = json.loads(output(moodex("runs", "--json")))
    assert run["models"] == ["moodex-lite0", "tagger"]
    assert "with moodex-lite0, tagger" in output(moodex("runs"))
    status = json.loads(output(moodex("status", "--json")))
    assert {model["name"]: model["images"] for model in status["models"]} == {"moodex-lite0": 12, "tagger": 12}
    query = str(images / "happy/0.png")
    by_tagger = hits(moodex, query, "--model", "tagger")
    both = hits(moodex, query, "--emotions-by", "moodex-lite0", "--similar-by", "tagger", "--tag", "1girl")
    assert [(hit["path"], hit["similarity"]) for hit in both] == [(hit["path"], hit["similarity"]) for hit in by_tagger]
    assert both[0]["emotions"].keys() != by_tagger[0]["emotions"].keys() or both[0]["emotions"] != by_tagger[0]["emotions"]
    assert both[0]["tags"]["1girl"] > 0.35
    assert_one_sentence_error(moodex("index", images, "--model", "tagger", "--model", "tagger"), 2, "Give each model once")
    assert_one_sentence_error(moodex("search", query, "--similar-by", "nothing"), 2, "with the model 'nothing' yet")
    output(moodex("schedule", "add", "nightly", images, "--every", "1d", "--model", "moodex-lite0", "--model", "tagger"))
    write_moods(images / "new", 1, first_seed=900)
    output(moodex("schedule", "run", "--once"))
    assert json.loads(output(moodex("runs", "--json")))[0]["models"] == ["moodex-lite0", "tagger"]
    assert len(hits(moodex, "--model", "tagger", "--under", str(images / "new"))) == 3


def test_wrong_requests_are_one_sentence(moodex: Run, images: Path) -> None:
    assert_one_sentence_error(moodex("models", "add", "hf:Some"), 2, "does not name a repository")
    assert_one_sentence_error(moodex("models", "add", "hf:Some/unknown"), 6, "run the command again with a connection")
    output(moodex("models", "add", "hf:Some/tagger"))
    assert_one_sentence_error(moodex("models", "add", "hf:Some/tagger"), 2, "There is a model 'tagger' already")
    assert_one_sentence_error(moodex("models", "calibrate", "moodex-lite0", images), 2, "is not a model of a hub")
    assert_one_sentence_error(moodex("models", "export", "tagger", "--output", "x.onnx"), 2, "no network of its own")
    output(moodex("index", images, "--model", "tagger"))
    assert_one_sentence_error(moodex("search", "--model", "tagger", "--tag", "nonsense"), 2, "No image has the tag 'nonsense'")
