"""What the page loads for its first view, and what it loads later."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.e2e.web.conftest import Open, example, send_image
from web.assets import Assets

Serve = Callable[..., AbstractContextManager[str]]

MOST_SCRIPTS = 27
FIRST_TILES = 6
LATE = {"teach": "teach.js", "library": "library.js", "map": "map.js"}


def loaded(page: Page) -> list[str]:
    """Return the addresses that the page has loaded, without the host; each as often as it was asked for."""
    names = page.evaluate("() => performance.getEntriesByType('resource').map((one) => one.name)")
    return [f"{parts.path}?{parts.query}" if parts.query else parts.path for parts in map(urlsplit, names)]


def scripts(page: Page) -> list[str]:
    return [PurePosixPath(path).name for path in loaded(page) if path.endswith(".js")]


def shows_images(page: Page) -> None:
    expect(page.locator("#grid .tile.loaded").first).to_be_visible()
    expect(page.locator("#chips .chip").first).to_be_visible()


def test_the_first_view_loads_few_scripts_and_each_thing_once(site: str, open_page: Open) -> None:
    page = open_page(site)
    shows_images(page)
    found = scripts(page)
    assert set(Assets().first_scripts) < set(found)
    assert len(found) == len(set(found)) <= MOST_SCRIPTS
    paths = loaded(page)
    assert sum(path.endswith(".css") for path in paths) == 1
    asked = [path for path in paths if path.startswith("/api/") and "/thumbnail" not in path]
    assert asked == ["/api/v1/emotions"]
    thumbnails = [path for path in paths if "/thumbnail" in path]
    assert len(thumbnails) == len(set(thumbnails)) > FIRST_TILES


def test_the_first_images_come_with_the_document_and_are_those_of_the_list(site: str, open_page: Open) -> None:
    page = open_page(site, java_script_enabled=False)
    hits = page.request.get(f"{site}/api/v1/images?limit=100").json()["hits"]
    images = page.locator("#grid .tile img")
    expect(images).to_have_count(FIRST_TILES)
    for image, hit in zip(images.all(), hits, strict=False):
        expect(image).to_have_attribute("src", f"/api/v1/images/{hit['image_id']}/thumbnail?side=256")
        expect(image).to_have_js_property("complete", True)
    page.close()
    page = open_page(site)
    shows_images(page)
    names = page.locator("#grid .tile").evaluate_all("all => all.map((one) => one.getAttribute('aria-label').split(', ')[1])")
    assert names == [PurePosixPath(hit["path"]).name for hit in hits][: len(names)]


def test_the_first_images_are_shown_before_most_scripts_are_loaded(site: str, open_page: Open) -> None:
    page = open_page("about:blank")
    page.route("**/page.js", lambda route: None)  # no answer
    page.goto(site, wait_until="commit")
    expect(page.locator("#grid .tile.loaded").first).to_be_visible()
    expect(page.locator("#chips .chip")).to_have_count(0)
    assert sorted(set(scripts(page)) - {"page.js"}) == sorted(Assets().first_scripts)


_DRAWING = example("kawaii/kawaii-02.png")
_BY_IMAGE = re.compile(r"\?query=[0-9a-f]{64}$")
_ACTS: dict[str, tuple[Callable[[Page], None], re.Pattern[str]]] = {
    "click": (lambda page: page.locator("#tile-0").click(), re.compile(r"\?image=\w+$")),
    "key": (lambda page: page.keyboard.press("l"), re.compile(r"\?view=library$")),
    "choice": (lambda page: page.locator("#order label").last.click(), re.compile(r"\?order=best$")),
    "file": (lambda page: page.locator("#file").set_input_files(_DRAWING), _BY_IMAGE),
    "drop": (lambda page: send_image(page, "drop", _DRAWING), _BY_IMAGE),
    "paste": (lambda page: send_image(page, "paste", _DRAWING), _BY_IMAGE),
}


@pytest.mark.parametrize("name", _ACTS)
def test_what_somebody_does_before_the_scripts_are_loaded_happens_then(site: str, open_page: Open, name: str) -> None:
    page, held = open_page("about:blank"), list[Route]()

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/page.js", hold)
    with page.expect_request("**/page.js"):
        page.goto(site, wait_until="commit")
    expect(page.locator("#tile-0")).to_be_visible()
    act, address = _ACTS[name]
    act(page)
    held[0].continue_()
    expect(page).to_have_url(address)


def test_a_page_whose_scripts_cannot_be_loaded_says_so(site: str, open_page: Open) -> None:
    page = open_page("about:blank", expected=(404,))
    page.route("**/chips.js", lambda route: route.fulfill(status=404))
    page.goto(site)
    expect(page.locator("#length")).to_contain_text("The page could not be loaded.")


def test_a_list_that_the_address_chooses_does_not_come_with_the_document(site: str, open_page: Open) -> None:
    page = open_page(f"{site}/?emotion=sad")
    shows_images(page)
    assert sum(path.startswith("/api/v1/search?") for path in loaded(page)) == 1
    page.locator("#chips [data-emotion=sad]").click()
    page.locator("#chips [data-emotion=sad]").click()
    expect(page).to_have_url(f"{site}/")
    expect(page.locator("#length")).to_contain_text("newest first")
    shows_images(page)


def test_wide_first_images_become_as_sharp_as_their_tiles(library: Serve, tmp_path: Path, open_page: Open) -> None:
    folder = tmp_path / "wide"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (1200, 600), (250, 80 * number, 0)).save(folder / f"{number}.png")
    with library(folder) as address:
        page = open_page(address, device_scale_factor=2)
        shows_images(page)
        image = page.locator("#tile-0 img")
        expect(image).to_have_attribute("src", re.compile("side=512$"))
        expect(image).to_have_js_property("naturalWidth", 512)
        expect(page.locator("#tile-0")).to_have_class(re.compile("loaded"))
        page.goto("about:blank")


def test_a_first_image_whose_file_is_missing_says_so(library: Serve, tmp_path: Path, open_page: Open) -> None:
    folder = tmp_path / "few"
    folder.mkdir()
    for name in ("kawaii-01.png", "kawaii-02.png"):
        shutil.copy(example(f"kawaii/{name}"), folder / name)
    with library(folder) as address:
        (folder / "kawaii-02.png").unlink()
        page = open_page(address, expected=(410,))
        expect(page.locator("#grid .tile.broken")).to_have_attribute("aria-label", re.compile("kawaii-02.png"))
        expect(page.locator("#grid .tile.loaded")).to_have_attribute("aria-label", re.compile("kawaii-01.png"))
        page.goto("about:blank")


def test_a_name_cannot_end_the_list_in_the_document(library: Serve, tmp_path: Path, open_page: Open) -> None:
    folder = tmp_path / "a<"
    folder.mkdir()
    name = "script><!--<script>&\"'{{ x }}.png"  # the path has "</script>"
    shutil.copy(example("kawaii/kawaii-01.png"), folder / name)
    with library(folder) as address:
        page = open_page(address)
        shows_images(page)
        label = page.locator("#tile-0").get_attribute("aria-label")
        assert label.partition(", ")[2] == name
        page.goto("about:blank")


@pytest.mark.parametrize("view", LATE)
def test_a_view_is_loaded_when_it_is_first_shown(site: str, open_page: Open, view: str) -> None:
    page = open_page(site)
    shows_images(page)
    assert not set(LATE.values()) & set(scripts(page))
    page.locator(f"[data-view-link='{view}']").click()
    expect(page.locator(f"main > [data-view='{view}']")).to_be_visible()
    page.wait_for_function(
        "(name) => performance.getEntriesByType('resource').some((one) => one.name.endsWith(name))", arg=LATE[view]
    )
    assert not (set(LATE.values()) - {LATE[view]}) & set(scripts(page))


def test_an_image_is_loaded_with_its_view(site: str, open_page: Open) -> None:
    page = open_page(site)
    shows_images(page)
    assert "viewer.js" not in scripts(page)
    page.locator("#tile-0").click()
    expect(page.locator("#viewer .bars")).to_be_visible()
    assert "viewer.js" in scripts(page)


def test_all_keys_are_listed_before_their_places_were_shown(site: str, open_page: Open) -> None:
    page = open_page(site)
    shows_images(page)
    page.keyboard.press("?")
    for title in ("Images", "One image", "Map", "Teach", "Everywhere"):
        place = page.locator("#keys-list section").filter(has=page.get_by_role("heading", name=title, exact=True))
        expect(place.locator("dd").first).to_be_visible()


def test_a_part_that_cannot_be_loaded_is_reported_and_asked_for_again(site: str, open_page: Open) -> None:
    page = open_page(site, expected=(404,))
    shows_images(page)
    page.route("**/teach.js", lambda route: route.fulfill(status=404))
    page.locator("[data-view-link='teach']").click()
    expect(page.locator(".toast.error")).to_contain_text("Reload the page")
    page.unroute("**/teach.js")
    page.locator("[data-view-link='images']").click()
    page.locator("[data-view-link='teach']").click()
    expect(page.locator("#queue .card")).to_be_visible()


def test_an_unknown_view_shows_the_images(site: str, open_page: Open) -> None:
    page = open_page(f"{site}/?view=nothing")
    shows_images(page)
