"""The page for everybody: no violation that axe-core can find, the keyboard alone, a phone, dark and light."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.e2e.web.conftest import PHONE, Open, playwright
from tests.e2e.web.test_scale import open_large

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs: pip install axe-playwright-python")
expect = playwright.expect


def violations(page: Any) -> list[str]:
    found = axe.Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:120]} {node.get('failureSummary', '')}" for one in found for node in one["nodes"]]


def show_grid(page: Any) -> None:
    expect(page.locator("#grid .tile.loaded").first).to_be_visible()


def show_panel(page: Any) -> None:
    show_grid(page)
    page.locator("#panel-button").click()
    expect(page.locator("#folders .folder").first).to_be_visible()


def show_selection(page: Any) -> None:
    page.locator("#tile-1").click(modifiers=["Control"])
    expect(page.locator("#selection")).to_be_visible()


def show_image(page: Any) -> None:
    page.locator("#tile-0").click()
    expect(page.locator("#viewer .bars")).to_be_visible()


def show_teach(page: Any) -> None:
    page.get_by_role("link", name="Teach").click()
    expect(page.locator(".card")).to_be_visible()


def show_library(page: Any) -> None:
    page.get_by_role("link", name="Library").click()
    for place in ("roots", "runs-list", "failures", "jobs", "doctor"):
        expect(page.locator(f"#{place}")).not_to_be_empty()


def show_keys(page: Any) -> None:
    show_grid(page)
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()


@pytest.mark.parametrize("device", [{}, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("show", [show_grid, show_panel, show_selection, show_image, show_teach, show_library, show_keys])
def test_axe_finds_no_violation(site: str, open_page: Open, show: Any, scheme: str, device: dict[str, Any]) -> None:
    page = open_page(site, color_scheme=scheme, reduced_motion="reduce", **device)
    show(page)
    assert violations(page) == []


def luminance(color: str) -> float:
    """Return the relative luminance of a color of CSS, as WCAG defines it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_tick_of_a_selected_image_can_be_seen(site: str, open_page: Open, scheme: str) -> None:
    """Axe does not see it: it is a white picture within the color of a pseudo-element."""
    page = open_page(site, color_scheme=scheme, reduced_motion="reduce")
    show_selection(page)
    color = page.locator("#tile-1").evaluate("(tile) => getComputedStyle(tile, '::before').backgroundColor")
    assert 1.05 / (luminance(color) + 0.05) >= 4.5, color


def test_axe_finds_no_violation_among_results_and_without_any(site: str, open_page: Open) -> None:
    page = open_page(f"{site}/?emotion=sad&not=happy", reduced_motion="reduce")
    show_grid(page)
    assert violations(page) == []
    page.goto(f"{site}/?emotion=disgust&min_score=0.95")
    expect(page.locator("#empty")).to_be_visible()
    assert violations(page) == []


def test_axe_finds_no_violation_in_a_long_list(site: str, open_page: Open) -> None:
    page = open_large(open_page, site)
    expect(page.get_by_role("slider", name="Place in the list")).to_be_visible()
    assert violations(page) == []


def test_the_keyboard_reaches_everything(site: str, open_page: Open) -> None:
    page = open_page(site)
    show_grid(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the images")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#grid")).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    active = page.locator("#grid").get_attribute("aria-activedescendant")
    outline = page.locator(f"#{active}").evaluate("(tile) => getComputedStyle(tile).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#viewer")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    expect(page.locator("#grid")).to_be_focused()
    page.keyboard.press("t")
    expect(page).to_have_url(f"{site}/?view=teach")
    page.keyboard.press("i")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_contain_text("label the selected images")
    page.keyboard.press("Escape")
    chip = page.locator("#chips [data-emotion=sad]")
    chip.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site}/?emotion=sad")
    expect(page.locator("#length")).to_contain_text("most probable first")
    expect(chip).to_be_focused()


def test_a_phone_shows_the_grid_an_image_and_the_filters(site: str, open_page: Open) -> None:
    page = open_page(site, **PHONE)
    show_grid(page)
    width = PHONE["viewport"]["width"]  # type: ignore[index]

    def fits() -> bool:
        return bool(page.evaluate("() => document.documentElement.scrollWidth") <= width)

    assert fits()
    in_row = page.locator("#grid .tile").evaluate_all("all => all.filter((one) => one.style.transform.endsWith(', 0px)')).length")
    assert in_row >= 2
    page.locator("#chips [data-emotion=happy]").tap()
    expect(page).to_have_url(f"{site}/?emotion=happy")
    page.locator("#panel-button").tap()
    expect(page.get_by_label("Near-duplicates once")).to_be_in_viewport()
    page.locator("#panel-close").tap()
    expect(page.locator("#panel")).to_be_hidden()
    page.locator("#tile-0").tap()
    expect(page.locator("#viewer img.large")).to_be_in_viewport()
    assert fits()
    page.locator("#viewer-close").tap()
    expect(page.locator("#viewer")).to_be_hidden()
    for view in ("Teach", "Library"):
        page.get_by_role("link", name=view).tap()
        expect(page.get_by_role("heading", name=view, exact=True)).to_be_visible()
        assert fits(), view


def test_the_panel_of_a_phone_says_how_many_images_fit_and_a_tap_beside_it_closes_it(site: str, open_page: Open) -> None:
    page = open_page(f"{site}/?emotion=happy", **PHONE)
    show_panel(page)
    panel, done = page.locator("#panel"), page.locator("#panel-done")
    number = page.request.get(f"{site}/api/v1/search?emotion=happy").json()["total"]
    expect(done).to_have_text(f"Show {number} images")
    page.locator("#min-score").fill("50")
    fewer = page.request.get(f"{site}/api/v1/search?emotion=happy&min_score=0.5").json()["total"]
    assert fewer < number
    expect(done).to_have_text(f"Show {fewer} images")
    done.tap()
    expect(panel).to_be_hidden()
    page.locator("#panel-button").tap()
    expect(panel).to_be_visible()
    page.touchscreen.tap(PHONE["viewport"]["width"] - 10, 300)  # type: ignore[index]
    expect(panel).to_be_hidden()
    expect(page.locator("#viewer")).to_be_hidden()


def test_the_name_and_the_cross_stay_above_a_long_image_view_of_a_phone(site: str, open_page: Open) -> None:
    page = open_page(site, **PHONE)
    show_image(page)
    page.locator("#viewer").evaluate("(viewer) => viewer.scrollTo(0, viewer.scrollHeight)")
    expect(page.locator("#viewer-title")).to_be_in_viewport()
    cross, head = page.locator("#viewer-close").bounding_box(), page.locator(".facts-head").bounding_box()
    assert head["y"] == 0
    assert cross["y"] + cross["height"] <= head["height"] + 12
    page.locator("#viewer-close").tap()
    expect(page.locator("#viewer")).to_be_hidden()


def test_the_colors_follow_the_system(site: str, open_page: Open) -> None:
    page = open_page(site, color_scheme="dark")
    background = "() => getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(background)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(background)
    assert sum(map(int, re.findall(r"\d+", dark))) < 150
    assert sum(map(int, re.findall(r"\d+", light))) > 600


def test_the_bar_leaves_while_one_scrolls_down_and_comes_back(site: str, open_page: Open) -> None:
    page = open_page(site)
    show_grid(page)
    page.mouse.move(600, 500)
    page.mouse.wheel(0, 900)
    expect(page.locator("#top")).not_to_be_in_viewport()
    page.mouse.wheel(0, -100)
    expect(page.locator("#top")).to_be_in_viewport()
