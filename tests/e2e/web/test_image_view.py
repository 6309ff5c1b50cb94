"""One image, large."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from PIL import Image

from tests.e2e.web.conftest import EXAMPLES, Open, example, playwright

expect = playwright.expect

Serve = Callable[..., AbstractContextManager[str]]


def first_image(page: Any, site: str, query: str = "") -> Any:
    return page.request.get(f"{site}/api/v1/images{query}").json()["hits"][0]


def test_a_click_shows_the_image_with_its_face_and_bars(site: str, open_page: Open) -> None:
    page = open_page(site)
    page.locator("#tile-0").click()
    hit = first_image(page, site)
    expect(page).to_have_url(f"{site}/?image={hit['image_id']}")
    viewer = page.locator("#viewer")
    expect(viewer.locator("#viewer-title")).to_have_text(Path(hit["path"]).name)
    bars = viewer.locator(".bars .reading")
    expect(bars).to_have_count(len(hit["emotions"]))
    most = max(hit["emotions"], key=hit["emotions"].get)
    expect(bars.first).to_contain_text(most)
    expect(bars.first).to_contain_text(f"{hit['emotions'][most]:.0%}")
    large = viewer.locator("img.large")
    expect(large).to_have_attribute("src", f"/api/v1/images/{hit['image_id']}/original")
    shown, face = large.bounding_box(), viewer.locator("#face-boxes .face").bounding_box()
    scale = shown["width"] / hit["size"][0]
    assert abs(face["x"] - shown["x"] - hit["box"][0] * scale) < 2
    assert abs(face["width"] - (hit["box"][2] - hit["box"][0]) * scale) < 2


def test_a_deep_link_shows_the_image_and_escape_leads_to_the_grid(site: str, open_page: Open) -> None:
    page = open_page("about:blank")
    hit = first_image(page, site, "?emotion=sad")
    page = open_page(f"{site}/?emotion=sad&image={hit['image_id']}")
    expect(page.locator("#viewer-title")).to_have_text(Path(hit["path"]).name)
    page.reload()
    expect(page.locator("#viewer-title")).to_have_text(Path(hit["path"]).name)
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    expect(page).to_have_url(f"{site}/?emotion=sad")
    expect(page.locator("#grid .tile.loaded").first).to_be_visible()


def test_arrow_keys_go_through_the_grid_and_back_closes(site: str, open_page: Open) -> None:
    page = open_page(f"{site}/?emotion=happy")
    hits = page.request.get(f"{site}/api/v1/search?emotion=happy").json()["hits"]
    page.locator("#tile-0").click()
    expect(page.locator("#viewer-place")).to_have_text(f"1 of {len(hits)}")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer-title")).to_have_text(Path(hits[2]["path"]).name)
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#viewer-title")).to_have_text(Path(hits[1]["path"]).name)
    page.go_back()
    expect(page.locator("#viewer")).to_be_hidden()
    expect(page.locator("#tile-1")).to_have_class(re.compile("active"))


def test_the_path_is_copied_and_the_folder_is_shown(site: str, open_page: Open) -> None:
    page = open_page(f"{site}/?emotion=sad")
    page.locator("#grid .tile").first.click()
    path = page.locator("#viewer .paths code").inner_text()
    page.get_by_role("button", name="Copy the path").click()
    expect(page.locator("#toasts")).to_contain_text("Copied")
    assert page.evaluate("() => navigator.clipboard.readText()") == path
    page.get_by_role("button", name="Show in folder").click()
    expect(page).to_have_url(re.compile(r"/\?under=[0-9a-f]{32}$"))
    inside = len([file for file in Path(path).parent.iterdir() if file.is_file()])
    expect(page.locator("#grid .tile")).to_have_count(inside)
    assert Path(path).is_relative_to(EXAMPLES)


def test_an_explanation_lays_a_heat_map_over_the_face(site: str, open_page: Open) -> None:
    page = open_page(f"{site}/?emotion=happy")
    page.locator("#tile-0").click()
    page.get_by_role("button", name=re.compile("^Why")).click()
    expect(page.locator("img.heat")).to_be_visible(timeout=90_000)
    expect(page.locator(".explain")).to_contain_text("Bright parts speak for")
    page.get_by_role("button", name="Hide the heat map").click()
    expect(page.locator("img.heat")).to_have_count(0)


def test_an_unknown_image_is_explained(site: str, open_page: Open) -> None:
    page = open_page(f"{site}/?image={'0' * 64}", expected=(404,))
    expect(page.locator("#viewer-body")).to_contain_text("No indexed image has the id")
    page.get_by_role("button", name="Show all images").first.click()
    expect(page.locator("#viewer")).to_be_hidden()
    expect(page.locator("#grid .tile.loaded").first).to_be_visible()


def test_faces_show_on_hover(site: str, open_page: Open) -> None:
    page = open_page(site)
    page.locator("#tile-0").hover()
    expect(page.locator("#tile-0 .face")).to_have_count(1)
    page.locator("#tile-4").hover()
    expect(page.locator("#tile-0 .face")).to_have_count(0)


def test_messages_show_over_the_image_and_can_be_pressed(own_site: str, open_page: Open) -> None:
    page = open_page(own_site)
    page.locator("#tile-0").click()
    expect(page.locator("#viewer .bars")).to_be_visible()
    page.keyboard.press("8")
    expect(page.locator(".verdict")).to_contain_text("by your label")
    page.locator(".toast").get_by_role("button", name="Undo").click()
    expect(page.locator(".verdict")).to_contain_text("probable")
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    expect(page.locator("#toasts")).to_contain_text("Brought back")
    page.locator(".toast").get_by_role("button", name="Close this message").click()


def test_the_stage_scrolls_along_a_strip(library: Serve, tmp_path: Path, open_page: Open) -> None:
    folder = tmp_path / "strips"
    folder.mkdir()
    for name, size in (("wide", (3000, 40)), ("tall", (400, 9000))):
        Image.new("RGB", size, "white").save(folder / f"{name}.png")
    with library(folder) as address:
        page = open_page(address)
        shown = {}
        for name in ("wide", "tall"):
            page.locator(f"#grid .tile[aria-label*='{name}.png']").click()
            expect(page.locator("#viewer img.large")).to_have_js_property("complete", True)
            shown[name] = page.locator("#canvas").bounding_box()
            page.keyboard.press("Escape")
            expect(page.locator("#viewer")).to_be_hidden()
        page.goto("about:blank")  # it asks the server nothing more
    assert (shown["wide"]["width"], shown["wide"]["height"]) == (3000, 40)
    assert (shown["tall"]["width"], shown["tall"]["height"]) == (320, 7200)


def test_an_image_whose_file_is_missing_says_so(library: Serve, tmp_path: Path, open_page: Open) -> None:
    folder = tmp_path / "few"
    folder.mkdir()
    shutil.copy(example("kawaii/kawaii-01.png"), folder / "gone.png")
    with library(folder) as address:
        (folder / "gone.png").unlink()
        page = open_page(address, expected=(410,))
        page.locator("#tile-0").click()
        expect(page.locator("#canvas")).to_contain_text("The file is missing, or it has changed.")
        expect(page.locator(".paths")).to_contain_text("missing")
        page.goto("about:blank")
