"""Finding images on the page: emotions, folders, probabilities, images of one's own, and the address that holds all of it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.web.conftest import Open, example, playwright, send_image, served
from tests.support.tagged import add_tags

expect = playwright.expect

EXAMPLE_COUNT = 66


def chip(page: Any, emotion: str) -> Any:
    return page.locator(f"#chips [data-emotion={emotion}]")


def tiles(page: Any) -> Any:
    return page.locator("#grid .tile.loaded")


def count_of(page: Any, emotion: str) -> int:
    return int(chip(page, emotion).locator(".count").inner_text())


def test_the_grid_shows_all_images_newest_first(site: str, open_page: Open) -> None:
    page = open_page(site)
    expect(page.locator("#length")).to_contain_text("newest first")
    expect(tiles(page).first).to_be_visible()
    expect(page.locator("#tile-0")).to_have_attribute("aria-label", re.compile(r"\w+ \d+%, \S+\.\w+"))
    assert len(page.request.get(f"{site}/api/v1/images?limit=200").json()["hits"]) == EXAMPLE_COUNT


def test_a_chip_includes_then_excludes_then_clears(site: str, open_page: Open) -> None:
    page = open_page(site)
    number = count_of(page, "sad")
    chip(page, "sad").click()
    expect(page.locator("#length")).to_have_text(f"{number} images, most probable first")
    expect(chip(page, "sad")).to_have_attribute("aria-pressed", "true")
    expect(page).to_have_title("sad · moodex")
    for label in page.locator("#grid .tile").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))"):
        assert label.split()[0] in ("sad", "crying")
    chip(page, "sad").click()
    expect(page).to_have_url(f"{site}/?not=sad")
    expect(chip(page, "sad")).to_have_attribute("aria-pressed", "mixed")
    expect(page.locator("#grid .tile[aria-label^='sad'], #grid .tile[aria-label^='crying']")).to_have_count(0)
    chip(page, "sad").click()
    expect(page).to_have_url(f"{site}/")
    expect(chip(page, "sad")).to_have_attribute("aria-pressed", "false")


def test_back_forward_and_reload_show_the_same(site: str, open_page: Open) -> None:
    page = open_page(site)
    chip(page, "happy").click()
    chip(page, "angry").click()
    both = f"{site}/?emotion=happy&emotion=angry"
    expect(page).to_have_url(both)
    length = page.locator("#length")
    number = page.request.get(f"{site}/api/v1/search?emotion=happy&emotion=angry").json()["total"]
    text = f"{number} images, most probable first"
    expect(length).to_have_text(text)
    page.go_back()
    expect(page).to_have_url(f"{site}/?emotion=happy")
    expect(length).to_have_text(f"{count_of(page, 'happy')} images, most probable first")
    page.go_forward()
    expect(page).to_have_url(both)
    expect(length).to_have_text(text)
    page.reload()
    expect(length).to_have_text(text)
    expect(chip(page, "angry")).to_have_attribute("aria-pressed", "true")


def test_the_filters_narrow_the_grid(site: str, open_page: Open) -> None:
    page = open_page(site)
    page.locator("#panel-button").click()
    expect(page.locator("#folders .folder").first).to_be_visible()
    expect(page.locator("#tags-filter")).to_be_hidden()  # no image has a tag
    page.get_by_role("button", name=re.compile("^Folders in")).click()
    page.get_by_role("button", name=re.compile("^lorelei")).click()
    expect(page).to_have_url(re.compile(r"\?under=[0-9a-f]{32}$"))
    expect(page.locator("#grid .tile")).to_have_count(len(list(example("lorelei").iterdir())))
    expect(page.locator("#grid .tile:not([aria-label*='lorelei-'])")).to_have_count(0)
    chip(page, "happy").click()
    page.locator("#min-score").fill("50")
    expect(page).to_have_url(re.compile(r"&min_score=0\.5$"))
    shares = page.locator("#grid .tile").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    assert all(int(re.search(r"(\d+)%", label)[1]) >= 50 for label in shares)  # type: ignore[index]
    page.get_by_label("Without sub-emotions").check()
    expect(page).to_have_url(re.compile(r"exact=true"))
    expect(page.locator("#grid .tile[aria-label^='pleased']")).to_have_count(0)
    page.locator("#panel-clear").click()
    expect(page).to_have_url(f"{site}/")


def test_near_duplicates_show_once(site: str, open_page: Open) -> None:
    page = open_page(f"{site}/?emotion=happy")
    before = page.locator("#grid .tile")
    expect(before.first).to_be_visible()
    page.locator("#panel-button").click()
    page.get_by_label("Near-duplicates once").check()
    expect(page).to_have_url(re.compile("dedupe=true"))
    expect(page.locator("#order")).to_be_hidden()
    expect(page.locator("#grid .tile").first).to_be_visible()


def test_an_empty_result_says_why_and_what_to_change(site: str, open_page: Open) -> None:
    page = open_page(f"{site}/?emotion=disgust&min_score=0.95")
    empty = page.locator("#empty")
    expect(empty).to_contain_text("No image reads as disgust and is at least 95% probable.")
    empty.get_by_role("button", name="Any probability").click()
    expect(page).to_have_url(f"{site}/?emotion=disgust")
    expect(empty).to_be_hidden()
    expect(tiles(page).first).to_be_visible()


def test_an_image_from_the_file_dialog_finds_its_like_and_then_the_sad_ones(site: str, open_page: Open) -> None:
    page = open_page(site)
    expect(tiles(page).first).to_be_visible()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Search by image").click()
    chooser.value.set_files(example("lorelei/lorelei-01.png"))
    expect(page).to_have_url(re.compile(r"\?query=[0-9a-f]{64}$"))
    expect(page.locator("#subject")).to_contain_text("More like your image")
    expect(page.locator("#chips-lead")).to_have_text("… but")
    expect(page.locator("#length")).to_contain_text("most alike first")
    expect(page.locator("#tile-0")).to_have_attribute("aria-label", re.compile("lorelei-01.png"))
    chip(page, "sad").click()
    expect(page).to_have_url(re.compile(r"\?query=[0-9a-f]{64}&emotion=sad$"))
    expect(page.locator("#tile-0")).to_have_attribute("aria-label", re.compile(r"^sad \d+%, lorelei"))
    page.reload()
    expect(page.locator("#tile-0")).to_have_attribute("aria-label", re.compile(r"^sad \d+%, lorelei"))
    page.get_by_role("button", name="Stop searching by this image").click()
    expect(page).to_have_url(f"{site}/?emotion=sad")


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_an_image_can_be_dropped_and_pasted(site: str, open_page: Open, kind: str) -> None:
    page = open_page(site)
    expect(tiles(page).first).to_be_visible()
    send_image(page, kind, example("kawaii/kawaii-02.png"))
    expect(page).to_have_url(re.compile(r"\?query=[0-9a-f]{64}$"))
    expect(page.locator("#tile-0")).to_have_attribute("aria-label", re.compile("kawaii-02.png"))


def test_an_image_that_the_server_forgot_is_asked_for_again(site: str, open_page: Open) -> None:
    page = open_page(f"{site}/?query={'0' * 64}", expected=(404,))
    expect(page.locator("#empty")).to_contain_text("send it again")
    expect(page.get_by_role("button", name="Choose the image")).to_be_visible()


def test_a_file_that_is_no_image_is_refused_with_a_sentence(site: str, open_page: Open) -> None:
    page = open_page(site, expected=(415, 422))
    page.locator("#file").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": b"no image"})
    expect(page.locator(".toast.error")).to_be_visible()
    expect(page).to_have_url(f"{site}/")


def test_more_like_this_but_sad(site: str, open_page: Open) -> None:
    page = open_page(f"{site}/?emotion=happy")
    page.locator("#grid .tile[aria-label*='lorelei']").first.click()
    page.get_by_role("button", name="More like this, but sad").click()
    expect(page).to_have_url(re.compile(r"/\?like=[0-9a-f]{64}&emotion=sad$"))
    expect(page.locator("#subject")).to_contain_text("More like this")
    expect(page.locator("#tile-0")).to_have_attribute("aria-label", re.compile(r"^sad \d+%, lorelei"))
    page.go_back()
    expect(page.locator("#viewer")).to_be_visible()
    page.go_back()
    expect(page).to_have_url(f"{site}/?emotion=happy")
    expect(page.locator("#viewer")).to_be_hidden()


def test_tags_are_a_filter_and_are_shown_with_an_image(examples_home: Path, home: Path, open_page: Open) -> None:
    shutil.copytree(examples_home, home)
    add_tags(home / "moodex.sqlite")
    with served(home) as site:
        page = open_page(site)
        page.locator("#panel-button").click()
        page.get_by_label("Tag, or a minus and a tag").fill("1Girl")
        page.keyboard.press("Enter")
        expect(page.locator("#length")).to_contain_text("5 images")
        page.get_by_label("Tag, or a minus and a tag").fill("-comic")
        page.keyboard.press("Enter")
        expect(page).to_have_url(f"{site}/?tag=1Girl&not_tag=comic")
        expect(page.locator("#length")).to_contain_text("3 images")
        page.get_by_label("Without the tag comic: remove from the filter").click()
        expect(page.locator("#length")).to_contain_text("5 images")
        page.goto(f"{site}/?tag=comic")
        tiles(page).first.click()
        page.get_by_role("region", name="Tags").get_by_role("button", name="1girl").click()
        expect(page).to_have_url(f"{site}/?tag=1girl")
        page.close()  # before the server ends
