"""Text searches as a user meets them: add CLIP, index, search by words, with an image, in another order; label and teach."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from tests.e2e.conftest import Run, environment
from tests.e2e.test_contract import assert_one_sentence_error
from tests.support import clip, hub
from tests.support.web import API, answer, browsing, problem
from web import schemas

ROOT = Path(__file__).resolve().parents[2]
MOODS = ("smile", "crying", "angry")


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, about their own code
        return clip.transformers_files("siglip")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache with a stand-in for SigLIP, and no connection."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf/hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    yield hub.write_cache(tmp_path / "hf", "Some/siglip", files)


@pytest.fixture
def indexed(moodex: Run, tmp_path: Path) -> Path:
    """Twelve images in folders by color, indexed with the stand-in, which is the default."""
    prompts = tmp_path / "prompts.toml"
    prompts.write_text('templates = ["a drawing of {}"]\n[emotions]\nhappy = ["a happy face"]\nsad = ["a sad face", "crying"]\n')
    assert output(moodex("models", "add", "hf:Some/siglip", "--prompts", prompts)) == "siglip\n"
    output(moodex("models", "default", "siglip"))
    for kind, mood in enumerate(MOODS):
        (tmp_path / "images" / mood).mkdir(parents=True)
        for number in range(4):
            hub.draw_mood(mood, 100 * kind + number).save(tmp_path / "images" / mood / f"{number}.png")
    assert "12 indexed" in output(moodex("index", tmp_path / "images"))
    return tmp_path / "images"


def output(result: subprocess.CompletedProcess[bytes]) -> str:
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def hits(moodex: Run, *words: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(output(moodex("search", "-f", "json", "-k", "50", *words)))
    return found


def paths(found: list[dict[str, Any]]) -> list[str]:
    return [hit["path"] for hit in found]


def test_a_user_searches_by_words_labels_and_teaches(moodex: Run, indexed: Path) -> None:
    found = hits(moodex, "girl with an umbrella")
    assert len(found) == 12
    similarities = [hit["similarity"] for hit in found]
    assert similarities == sorted(similarities, reverse=True)
    assert set(found[0]["emotions"]) == {"happy", "sad"}
    assert paths(hits(moodex, "--text", "girl with an umbrella")) == paths(found)
    assert paths(hits(moodex, "--text", "- girl with an umbrella")) == paths(found)[::-1]
    emotion = found[0]["emotion"]
    chosen = hits(moodex, "girl with an umbrella", "--emotion", emotion, "--under", indexed / "smile")
    assert paths(chosen) == [hit["path"] for hit in found if hit["emotion"] == emotion and "/smile/" in hit["path"]]
    image = indexed / "smile/0.png"
    liked = hits(moodex, "--like", image, "--text", "0.001 * night")
    assert liked[0]["path"] == str(image)
    assert paths(hits(moodex, image, "--text", "0.001 * night")) == paths(liked)
    assert paths(hits(moodex, image, "--text", "1000 * girl with an umbrella"))[:3] != paths(liked)[:3]
    assert_one_sentence_error(moodex("search", "--text", "girl + "), 2, "is empty")
    # Whatever the model sees in these colors, the user sees other emotions.
    for mood, emotion in (("smile", "sad"), ("crying", "surprise"), ("angry", "angry")):
        for number in range(4):
            output(moodex("label", indexed / mood / f"{number}.png", "--emotion", emotion))
    assert "siglip-taught-1" in output(moodex("teach"))
    assert paths(hits(moodex, "girl with an umbrella")) == paths(found), "a taught version reads text as before"
    hub.draw_mood("crying", 999).save(indexed / "new.png")
    output(moodex("index", indexed))
    assert hits(moodex, "--under", indexed / "new.png", "--emotion", "surprise")


def test_a_blend_reads_text_with_its_first_model_and_calibration_keeps_it(moodex: Run, indexed: Path, tmp_path: Path) -> None:
    found = paths(hits(moodex, "--text", "girl in rain"))
    output(moodex("models", "add", "hf:Some/siglip", "--name", "other", "--prompts", tmp_path / "prompts.toml"))
    output(moodex("index", indexed, "--model", "other"))
    output(moodex("models", "blend", "both", "siglip", "other", "--weights", "0.5,0.5"))
    assert paths(hits(moodex, "--text", "girl in rain", "--model", "both")) == found
    for folder, mood in (("happy", "smile"), ("sad", "crying")):
        (tmp_path / "set" / folder).mkdir(parents=True)
        for number in range(12):
            hub.draw_mood(mood, 700 + number).save(tmp_path / "set" / folder / f"{number}.png")
    assert json.loads(output(moodex("models", "calibrate", "siglip", tmp_path / "set", "--json")))["images"] == 24
    assert paths(hits(moodex, "--text", "girl in rain")) == found


def test_a_text_search_imports_no_torch(home: Path, indexed: Path, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print([name for name in ('torch', 'transformers', 'open_clip') if name in sys.modules], file=sys.stderr)\n"
    )
    hub_cache = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, "search", "girl with an umbrella", "-f", "json"]
    result = subprocess.run(command, env=environment(home) | hub_cache, capture_output=True, text=True, check=True, cwd=ROOT)
    assert len(json.loads(result.stdout)) == 12
    assert result.stderr.splitlines()[-1] == "[]"


def test_wrong_requests_are_one_sentence(moodex: Run, indexed: Path) -> None:
    output(moodex("index", indexed, "--model", "moodex-lite0", "--faces", "off"))
    assert_one_sentence_error(
        moodex("search", "--text", "girl", "--model", "moodex-lite0"), 2, "'moodex-lite0' has no text encoder"
    )
    assert_one_sentence_error(moodex("search", "a girl in rain", "--model", "moodex-lite0"), 2, "reads no text")
    assert_one_sentence_error(moodex("search", "gril.png"), 2, "does not exist")
    assert_one_sentence_error(moodex("models", "add", "open_clip:Some/siglip", "--name", "x"), 6, "lacks open_clip_config.json")


def test_the_api_searches_by_text(moodex: Run, home: Path, indexed: Path) -> None:
    printed = paths(hits(moodex, "--text", "girl - night"))
    image = indexed / "smile/0.png"
    liked = hits(moodex, "--like", image, "--text", "night")
    with browsing(home) as client:
        found = answer(client.get(f"{API}/search", params={"text": "girl - night"}), schemas.SearchAnswer)
        assert ([hit["path"] for hit in found["hits"]], found["total"]) == (printed, 12)
        first = answer(client.get(f"{API}/search", params={"text": "girl - night", "limit": 5}), schemas.SearchAnswer)
        more = {"text": "girl - night", "limit": 7, "cursor": first["next"]}
        rest = answer(client.get(f"{API}/search", params=more), schemas.SearchAnswer)
        assert [hit["path"] for hit in first["hits"] + rest["hits"]] == printed
        both = answer(client.get(f"{API}/search", params={"text": "night", "like": liked[0]["image_id"]}), schemas.SearchAnswer)
        assert [hit["path"] for hit in both["hits"]] == paths(liked)
        sent = client.post(f"{API}/search", params={"text": "night"}, files={"image": image.read_bytes()})
        assert [hit["path"] for hit in answer(sent, schemas.SearchAnswer)["hits"]] == paths(liked)
        assert answer(client.get(f"{API}/emotions"), schemas.Emotions)["reads_text"]
        assert "is empty" in problem(client.get(f"{API}/search", params={"text": "girl + "}), 400)
        problem(client.get(f"{API}/search", params={"text": "a" * 1001}), 422)
