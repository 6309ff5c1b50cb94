"""What the page loads for its first view, and what it loads later."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.web.conftest import Open
from web.assets import Assets

MOST_SCRIPTS = 25
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
    assert sorted(set(scripts(page))) == sorted(Assets().first_scripts)
    assert len(set(scripts(page))) <= MOST_SCRIPTS
    paths = loaded(page)
    assert sum(path.endswith(".css") for path in paths) == 1
    assert paths.count("/api/v1/images?limit=100") == 1
    asked = {path.partition("?")[0] for path in paths if path.startswith("/api/") and "/thumbnail" not in path}
    assert asked == {"/api/v1/images", "/api/v1/emotions"}


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
