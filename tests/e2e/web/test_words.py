"""Search by words on the page, with a stand-in for SigLIP."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.e2e.conftest import run_cli
from tests.e2e.web.conftest import Open, playwright, served
from tests.support import clip, hub

expect = playwright.expect


@pytest.fixture(scope="module")
def words_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder with three images, indexed with a model that reads text, which is the default."""
    folder = tmp_path_factory.mktemp("words")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, about their own code
        patch.setenv("HF_HOME", str(folder / "hf"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr(constants, "HF_HUB_CACHE", str(folder / "hf/hub"))
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        hub.write_cache(folder / "hf", "Some/siglip", clip.transformers_files("siglip"))
        (folder / "prompts.toml").write_text('[emotions]\nhappy = ["a happy face"]\nsad = ["a sad face"]\n')
        (folder / "images").mkdir()
        for mood in ("smile", "crying", "angry"):
            hub.draw_mood(mood, 1).save(folder / f"images/{mood}.png")
        for words in (
            ["models", "add", "hf:Some/siglip", "--prompts", folder / "prompts.toml"],
            ["models", "default", "siglip"],
            ["index", folder / "images"],
        ):
            assert run_cli(folder / "home", *words).returncode == 0
        yield folder / "home"


def test_words_order_the_images_and_stay_in_the_address(words_home: Path, open_page: Open) -> None:
    printed = json.loads(run_cli(words_home, "search", "--text", "girl in rain", "-f", "json").stdout)
    with served(words_home) as site:
        page = open_page(site)
        field = page.get_by_role("searchbox", name="Search by words")
        field.fill("girl in rain")
        field.press("Enter")
        expect(page).to_have_url(f"{site}/?text=girl+in+rain")
        expect(page.locator("#length")).to_have_text("3 images, most alike first")
        expect(page).to_have_title("girl in rain · moodex")
        expect(page.locator("#tile-0")).to_have_attribute("aria-label", re.compile(re.escape(Path(printed[0]["path"]).name)))
        page.reload()
        expect(field).to_have_value("girl in rain")
        field.fill("")
        expect(page).to_have_url(f"{site}/")
        expect(page.locator("#length")).to_contain_text("newest first")


def test_a_model_that_reads_no_text_has_no_field(site: str, open_page: Open) -> None:
    page = open_page(site)
    expect(page.locator("#length")).to_contain_text("newest first")
    expect(page.get_by_role("searchbox", name="Search by words")).to_have_count(0)
