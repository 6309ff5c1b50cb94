"""The grid with very many images: few nodes, cancelled requests, and the way back to where one was."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

from tests.e2e.web.conftest import Open, playwright

expect = playwright.expect

IMAGES = 20_000
MOST_NODES = 400
"""Elements within the grid."""

LIST = "?view=images"
"""Chooses what the page shows without it, too, but asks for all of it: the document brings no image."""

PAGE = re.compile(r"/api/v1/images\?")
THUMBNAIL = re.compile(r"/thumbnail")
IMAGE = re.compile(r"/api/v1/images/[0-9a-f]{64}$")
PIXEL = bytes.fromhex("474946383961010001008000000000000000000021f90401000000002c00000000010001000002024401003b")
"""A GIF of one pixel."""


def hit(number: int) -> dict[str, Any]:
    width = 300 + number * 37 % 500
    name = f"{number:06}.png"
    emotions = {"happy": 0.9, "sad": 0.1}
    facts = {"path": f"/drawings/{name}", "image_id": f"{number:064x}", "emotion": "happy", "score": 0.9}
    return {**facts, "emotions": emotions, "similarity": None, "size": [width, 400], "box": [10, 10, 200, 200]}


def answer_page(route: Any) -> None:
    """Answer a request for a page of the grid, of a library of `IMAGES`."""
    place = re.search(r"[?&](?:cursor|at)=(\d+)", route.request.url)
    first = int(place[1]) if place else 0
    end = min(IMAGES, first + 100)
    counted = {"total": None, "exact": False} if place else {"total": IMAGES, "exact": True}
    page = {"hits": [hit(number) for number in range(first, end)], "next": str(end) if end < IMAGES else None, **counted}
    route.fulfill(content_type="application/json", body=json.dumps(page))


def answer_image(route: Any) -> None:
    """Answer a request for the faces of the image under the mouse."""
    number = int(route.request.url[-64:], 16)
    route.fulfill(content_type="application/json", body=json.dumps({**hit(number), "faces": [hit(number)], "files": []}))


def open_large(open_page: Open, site: str) -> Any:
    page = open_page("about:blank")
    page.context.route(PAGE, answer_page)
    page.context.route(THUMBNAIL, lambda route: route.fulfill(content_type="image/gif", body=PIXEL))
    page.context.route(IMAGE, answer_image)
    page.goto(f"{site}/{LIST}")
    expect(page.locator("#tile-0.loaded")).to_be_visible()
    return page


def nodes(page: Any) -> int:
    return int(page.evaluate("() => document.querySelectorAll('#grid *').length"))


def scroll_until(page: Any, index: int) -> None:
    """Scroll down until an image of the grid is in the document."""
    while page.locator(f"#tile-{index}").count() == 0:
        before = page.evaluate("() => scrollY")
        page.mouse.wheel(0, 3000)
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert nodes(page) < MOST_NODES
        assert before <= page.evaluate("() => scrollY")


def test_the_grid_keeps_few_nodes_however_far_one_scrolls(site: str, open_page: Open) -> None:
    page = open_large(open_page, site)
    assert nodes(page) < MOST_NODES
    page.mouse.move(600, 500)
    scroll_until(page, 3000)
    expect(page.locator("#tile-3000")).to_have_attribute("aria-label", "happy 90%, 003000.png")
    page.evaluate("() => scrollTo(0, 0)")
    expect(page.locator("#tile-0.loaded")).to_be_visible()
    assert nodes(page) < MOST_NODES


def test_back_from_an_image_and_from_a_search_leads_to_the_same_place(site: str, open_page: Open) -> None:
    page = open_large(open_page, site)
    page.mouse.move(600, 500)
    scroll_until(page, 500)
    tile = page.locator("#tile-500")
    tile.scroll_into_view_if_needed()
    place = tile.bounding_box()["y"]
    page.locator("#chips [data-emotion=sad]").dispatch_event("click")
    expect(page.locator("#length")).to_contain_text("most probable first")
    page.go_back()
    expect(tile).to_be_in_viewport()
    assert abs(tile.bounding_box()["y"] - place) < 2
    page.reload()
    expect(tile).to_be_in_viewport()


def test_another_address_in_the_same_tab_begins_at_the_top(site: str, open_page: Open) -> None:
    page = open_large(open_page, site)
    page.mouse.move(600, 500)
    scroll_until(page, 500)
    page.goto(f"{site}/{LIST}&emotion=sad")
    expect(page.locator("#tile-0.loaded")).to_be_in_viewport()
    assert page.evaluate("() => scrollY") == 0


def test_thumbnails_that_leave_the_view_are_cancelled(site: str, open_page: Open) -> None:
    page = open_page("about:blank")
    failed: list[str] = []
    page.on("requestfailed", lambda request: failed.append(request.failure))
    page.context.route(PAGE, answer_page)
    page.context.route(IMAGE, answer_image)
    page.context.route(THUMBNAIL, lambda route: None)  # no answer: the request stays open
    page.goto(f"{site}/{LIST}")
    expect(page.locator("#tile-20")).to_be_attached()
    page.mouse.move(600, 500)
    scroll_until(page, 200)
    assert "net::ERR_ABORTED" in failed


_PLACED = """() => [...document.querySelectorAll("#grid .tile")].map((tile) => {
  const edges = tile.getBoundingClientRect();
  return {index: Number(tile.id.slice(5)), left: Math.round(edges.left), top: Math.round(edges.top)};
}).sort((one, other) => one.index - other.index)"""


def rows_follow_each_other(page: Any) -> bool:
    """Return whether the tiles in the document have a gapless range of places, each row below the one before."""
    tiles = page.evaluate(_PLACED)
    pairs = list(pairwise(tiles))
    in_row = [(one, two) for one, two in pairs if one["top"] == two["top"]]
    return all(two["index"] == one["index"] + 1 and two["top"] >= one["top"] for one, two in pairs) and all(
        one["left"] < two["left"] for one, two in in_row
    )


def test_the_slider_leads_to_any_place_and_the_wheel_goes_on_from_there(site: str, open_page: Open) -> None:
    asked: list[str] = []
    page = open_large(open_page, site)
    page.on("request", lambda request: asked.append(request.url) if PAGE.search(request.url) else None)
    slider = page.get_by_role("slider", name="Place in the list")
    slider.fill("15000")
    tile = page.locator("#tile-15000")
    expect(tile).to_be_in_viewport()
    expect(tile).to_have_attribute("aria-label", "happy 90%, 015000.png")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("of 20,000$"))
    assert len(asked) < 10
    page.mouse.move(600, 500)
    while page.locator("#tile-14400").count() == 0:
        page.mouse.wheel(0, -1500)
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert nodes(page) < MOST_NODES
        assert rows_follow_each_other(page)
    expect(page.locator("#tile-14400")).to_have_attribute("aria-label", "happy 90%, 014400.png")
    scroll_until(page, 15_200)
    slider.fill("19999")
    expect(page.locator("#tile-19999")).to_be_in_viewport()
    slider.fill("0")
    expect(page.locator("#tile-0")).to_be_in_viewport()
    assert page.evaluate("() => scrollY") < 400
    slider.focus()
    page.keyboard.press("End")
    expect(page.locator("#tile-19999")).to_be_in_viewport()


def test_a_reload_far_down_shows_the_same_place(site: str, open_page: Open) -> None:
    page = open_large(open_page, site)
    page.get_by_role("slider", name="Place in the list").fill("12345")
    tile = page.locator("#tile-12345")
    expect(tile).to_be_in_viewport()
    place = tile.bounding_box()["y"]
    page.reload()
    expect(tile).to_be_in_viewport()
    assert abs(tile.bounding_box()["y"] - place) < 2
    page.mouse.move(600, 500)
    while page.locator("#tile-12200").count() == 0:
        page.mouse.wheel(0, -1500)
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert rows_follow_each_other(page)


_MILLION = """async () => {
  const base = document.querySelector("script[src]").src.replace("/main.js", "");
  const { Grid } = await import(`${base}/grid.js`);
  const { Numbers } = await import(`${base}/hits.js`);
  const aspects = new Numbers(Float32Array);
  for (let index = 0; index < 1_000_000; index++) aspects.push(0.6 + (index * 7919 % 1000) / 700);
  const hit = (index) => ({
    path: `/drawings/${index}.png`, image_id: "0".repeat(64), emotion: "happy", score: 0.9, emotions: {happy: 0.9},
    similarity: null, size: [400, 400],
  });
  const hits = {
    aspects, count: aspects.length, total: aspects.length, isTotalExact: true, isComplete: true, isFromStart: true, canJump: true,
    isRanked: false, at: hit,
    reach: async (index) => hit(index), need: async () => {}, more: async () => {}, stop: () => {},
  };
  const element = document.createElement("div");
  element.className = "grid";
  element.id = "large";
  document.querySelector("main").prepend(element);  // what loads late must not move it
  const grid = new Grid(element, { onChange: () => {}, onProblem: (error) => { throw error; }, isSelected: () => false });
  await grid.show(hits, null);
  window.large = grid;
  return grid.rows.count;
}"""


def test_a_million_images_have_a_place(site: str, open_page: Open) -> None:
    page = open_page(f"{site}/?view=library")
    page.context.route(THUMBNAIL, lambda route: route.fulfill(content_type="image/gif", body=PIXEL))
    assert page.evaluate(_MILLION) > 50_000
    grid = page.locator("#large")
    for index in (0, 777_777, 999_999, 500_000, 0):
        page.evaluate("(index) => window.large.activate(index)", index)
        tile = grid.locator(f"#tile-{index}")
        expect(tile).to_be_in_viewport()
        expect(tile).to_have_attribute("aria-label", f"happy 90%, {index}.png")
        assert grid.locator("*").count() < MOST_NODES
        assert grid.bounding_box()["height"] < 10_000_000
    page.evaluate("() => window.large.activate(400_000)")
    page.mouse.move(600, 500)
    for _ in range(20):
        page.mouse.wheel(0, 2000)
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert grid.locator("*").count() < MOST_NODES
    assert page.evaluate("() => window.large.anchor().index") > 400_100
