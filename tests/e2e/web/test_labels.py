"""Labels, the selection, and teaching on the page. Each test has a library of its own."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.web.conftest import Open, playwright

expect = playwright.expect

_TEACH_MS = 300_000


def labels(page: Any, site: str) -> dict[str, str]:
    """Return the labels of the library by file name."""
    answer = page.request.get(f"{site}/api/v1/labels?limit=1000").json()
    return {Path(one["path"]).name: one["label"] for one in answer["labels"]}


def model(page: Any, site: str) -> str:
    """Return the name of the model in use."""
    return str(page.request.get(f"{site}/api/v1/emotions").json()["model"])


def key_of(page: Any, emotion: str) -> str:
    """Return the key that labels with an emotion, as the image view shows it."""
    return str(page.locator(f"#viewer .bars [data-emotion={emotion}] kbd").inner_text())


def name_of(tile: Any) -> str:
    return str(tile.get_attribute("aria-label")).split(", ")[-1]


def test_a_key_labels_the_image_and_another_brings_the_label_back(own_site: str, open_page: Open) -> None:
    page = open_page(own_site)
    page.locator("#tile-0").click()
    expect(page.locator("#viewer .bars")).to_be_visible()
    name = page.locator("#viewer-title").inner_text()
    page.keyboard.press(key_of(page, "disgust"))
    expect(page.locator("#viewer .is-label")).to_contain_text("disgust")
    expect(page.locator("#toasts")).to_contain_text("Labeled 1 image disgust.")
    assert labels(page, own_site) == {name: "disgust"}
    page.keyboard.press("Escape")
    expect(page.locator("#tile-0")).to_have_attribute("aria-label", f"labeled disgust, {name}")
    page.keyboard.press("u")
    expect(page.locator("#tile-0")).to_have_attribute("aria-label", re.compile(rf"^\w+ \d+%, {re.escape(name)}"))
    assert labels(page, own_site) == {}


def test_a_click_on_a_bar_labels_and_a_second_one_removes_the_label(own_site: str, open_page: Open) -> None:
    page = open_page(own_site)
    page.locator("#tile-0").click()
    page.locator("#viewer .bars [data-emotion=fear]").click()
    expect(page.locator("#viewer .is-label")).to_contain_text("fear")
    expect(page.locator(".verdict")).to_contain_text("by your label")
    page.locator("#viewer .bars [data-emotion=fear][aria-pressed=true]").click()
    expect(page.locator("#viewer .is-label")).to_have_count(0)
    assert labels(page, own_site) == {}


def test_an_own_emotion_becomes_a_chip(own_site: str, open_page: Open) -> None:
    page = open_page(own_site)
    page.locator("#tile-0").click()
    page.get_by_role("button", name="Own emotion").click()
    page.get_by_label("Emotion", exact=True).fill("smug")
    page.get_by_role("button", name="Label", exact=True).click()
    expect(page.locator("#viewer .is-label")).to_contain_text("smug")
    page.keyboard.press("Escape")
    chip = page.locator("#chips [data-emotion=smug]")
    expect(chip.locator(".count")).to_have_text("1")
    chip.click()
    expect(page.locator("#grid .tile")).to_have_count(1)
    expect(page.locator("#tile-0")).to_have_attribute("aria-label", re.compile("^labeled smug, "))


def test_images_are_selected_by_control_shift_and_a_rectangle(own_site: str, open_page: Open) -> None:
    page = open_page(own_site)
    count = page.locator("#selection-count")
    page.locator("#tile-1").click(modifiers=["Control"])
    expect(count).to_have_text("1 image selected")
    page.locator("#tile-4").click(modifiers=["Shift"])
    expect(count).to_have_text("4 images selected")
    page.locator("#tile-2").click()
    expect(count).to_have_text("3 images selected")
    page.keyboard.press("Escape")
    expect(page.locator("#selection")).to_be_hidden()
    first, third = page.locator("#tile-0").bounding_box(), page.locator("#tile-2").bounding_box()
    page.mouse.move(first["x"] + 60, first["y"] + 60)
    page.mouse.down()
    page.mouse.move(third["x"] + 20, third["y"] + 90, steps=5)
    page.mouse.up()
    expect(count).to_have_text("3 images selected")
    expect(page.locator("#viewer")).to_be_hidden()


def test_a_selection_is_labeled_copied_and_downloaded(own_site: str, open_page: Open) -> None:
    page = open_page(own_site)
    tiles = [page.locator(f"#tile-{number}") for number in range(3)]
    for tile in tiles:
        tile.click(modifiers=["Control"])
    names = {name_of(tile) for tile in tiles}
    page.get_by_role("button", name="Label embarrassed").click()
    expect(tiles[0]).to_have_attribute("aria-label", re.compile("^labeled embarrassed, "))
    assert labels(page, own_site) == dict.fromkeys(names, "embarrassed")

    page.get_by_role("button", name="Copy paths").click()
    expect(page.locator("#toasts")).to_contain_text("Copied 3 paths.")
    copied = page.evaluate("() => navigator.clipboard.readText()").splitlines()
    assert {Path(path).name for path in copied} == names

    with zipfile.ZipFile(download(page, "Zip")) as archive:
        assert set(archive.namelist()) == names
    rows = list(csv.DictReader(io.StringIO(download(page, "CSV").read_text(encoding="utf-8"))))
    assert {Path(row["path"]).name for row in rows} == names
    assert {Path(one["path"]).name for one in json.loads(download(page, "JSON").read_text())} == names

    page.get_by_role("button", name="Folder of links").click()
    page.get_by_label("Name of the folder").fill("my stickers")
    page.get_by_role("button", name="Write the links").click()
    expect(page.locator("#toasts")).to_contain_text("Wrote 3 links into")


def download(page: Any, button: str) -> Path:
    with page.expect_download() as download:
        page.locator("#selection").get_by_role("button", name=button, exact=True).click()
    return Path(download.value.path())


def test_hidden_images_leave_searches_and_come_back(own_site: str, open_page: Open) -> None:
    page = open_page(own_site)
    expect(page.locator("#tile-0")).to_be_visible()
    name = name_of(page.locator("#tile-0"))
    page.locator("#tile-0").click(modifiers=["Control"])
    page.get_by_role("button", name="Hide", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("Hid 1 image")
    expect(page.locator(f"#grid .tile[aria-label$='{name}']")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(f"#grid .tile[aria-label$='{name}']")).to_have_count(1)


def test_keys_answer_the_suggestions(own_site: str, open_page: Open) -> None:
    page = open_page(f"{own_site}/?view=teach")
    expect(page.locator(".card")).to_be_visible()
    expect(page.locator("#label-count")).to_have_text("You have no labels yet.")
    for number in range(3):
        expect(page.locator(".card")).to_contain_text(f"Image {number + 1} of")
        page.keyboard.press("1")
    expect(page.locator(".card")).to_contain_text("Image 4 of")
    expect(page.locator("#label-count")).to_have_text("You have 3 labels.")
    page.keyboard.press("u")
    expect(page.locator(".card")).to_contain_text("Image 3 of")
    expect(page.locator("#label-count")).to_have_text("You have 2 labels.")
    page.keyboard.press("s")
    expect(page.locator(".card")).to_contain_text("Image 4 of")
    assert sorted(labels(page, own_site).values()) == ["happy", "happy"]


def test_a_doubted_label_is_changed(own_site: str, open_page: Open) -> None:
    page = open_page("about:blank")
    hit = page.request.get(f"{own_site}/api/v1/search?emotion=happy&exact=true&limit=1").json()["hits"][0]
    body = {"image_ids": [hit["image_id"]], "emotion": "sad"}
    assert page.request.put(f"{own_site}/api/v1/labels", data=body).ok
    page = open_page(f"{own_site}/?view=teach")
    expect(page.locator(".doubt")).to_contain_text("You labeled it sad. The model reads happy")
    page.get_by_role("button", name="Change to happy").click()
    expect(page.locator(".doubt")).to_have_count(0)
    assert list(labels(page, own_site).values()) == ["happy"]


def test_teaching_reports_what_changed_and_can_be_undone(own_site: str, open_page: Open) -> None:
    page = open_page("about:blank")
    before = model(page, own_site)
    every = page.request.get(f"{own_site}/api/v1/images?limit=200").json()["hits"]
    for folder in ("red-panda", "kawaii"):
        images = [hit["image_id"] for hit in every if Path(hit["path"]).parent.name == folder][:6]
        body = {"image_ids": images, "emotion": f"{folder}-like", "new": True}
        assert page.request.put(f"{own_site}/api/v1/labels", data=body).ok
    page = open_page(f"{own_site}/?view=teach")
    page.get_by_role("button", name="Teach the model").click()
    result = page.locator("#teach-result")
    expect(result).to_contain_text("The model learned from your labels: 6 kawaii-like and 6 red-panda-like.", timeout=_TEACH_MS)
    expect(result).to_contain_text(re.compile("Before, it named \\d+ of 100 of your labeled images right"))
    assert model(page, own_site) != before
    page.get_by_role("button", name="Undo the teaching").click()
    expect(result).to_contain_text("Your labels are kept.", timeout=_TEACH_MS)
    assert model(page, own_site) == before


@pytest.mark.parametrize("key", ["x", " "])
def test_the_keyboard_alone_selects_and_labels(own_site: str, open_page: Open, key: str) -> None:
    page = open_page(own_site)
    expect(page.locator("#tile-0")).to_be_visible()
    page.locator("#grid").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#grid")).to_have_attribute("aria-activedescendant", "tile-1")
    page.keyboard.press(key)
    expect(page.locator("#selection-count")).to_have_text("1 image selected")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator("#selection-count")).to_have_text("2 images selected")
    page.keyboard.press("1")
    expect(page.locator("#tile-2")).to_have_attribute("aria-label", re.compile("^labeled happy, "))
    page.keyboard.press("Backspace")
    expect(page.locator("#tile-2")).not_to_have_attribute("aria-label", re.compile("^labeled"))
