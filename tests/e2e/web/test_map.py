"""The map of the page: made, moved, searched, selected from, and drawn without WebGL too."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import run_process
from tests.e2e.web.conftest import CHROMIUM, PHONE, Open, playwright, served

pytest.importorskip("openTSNE", reason="needs the extra map")

expect = playwright.expect
FACES = 66


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser that draws WebGL in software."""
    with playwright.sync_playwright() as started:
        options = [
            "--no-sandbox",
            "--use-gl=angle",
            "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader",
            "--ignore-gpu-blocklist",
        ]
        browser = started.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def mapped(examples_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a page on the examples with a map. Tests change nothing there."""
    home = tmp_path_factory.mktemp("mapped") / "home"
    shutil.copytree(examples_home, home)
    done = run_process(home, "map")
    assert done.returncode == 0, done.stderr.decode()
    with served(home) as address:
        yield address


def painted(page: Any) -> int:
    """Return how many pixels of the map are not empty, as the browser shows them."""
    return int(
        page.evaluate(
            """async () => {
              const canvas = document.querySelector("#map-canvas");
              const bitmap = await new Promise((done) => requestAnimationFrame(async () => {
                dispatchEvent(new Event("resize"));
                done(canvas);
              }));
              const copy = new OffscreenCanvas(bitmap.width, bitmap.height);
              const context = copy.getContext("2d");
              context.drawImage(bitmap, 0, 0);
              const data = context.getImageData(0, 0, copy.width, copy.height).data;
              let number = 0;
              for (let place = 3; place < data.length; place += 4) if (data[place]) number++;
              return number;
            }"""
        )
    )


def listed(page: Any) -> Any:
    return page.locator("#map-list li")


def middle(page: Any) -> tuple[float, float]:
    box = page.locator("#map-stage").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_map_is_made_from_the_page(own_site: str, open_page: Open) -> None:
    page = open_page(f"{own_site}/?view=map")
    expect(page.locator("#map-note")).to_contain_text("There is no map yet")
    expect(page.locator("#map-view")).to_be_hidden()
    page.get_by_role("button", name="Make the map").click()
    expect(page.locator("#map-count")).to_have_text(f"{FACES} of {FACES} faces in view")
    expect(page.locator("#map-note")).to_contain_text(f"{FACES} faces, as of")


def test_the_list_has_what_is_in_view_and_the_address_keeps_the_place(mapped: str, open_page: Open) -> None:
    page = open_page(f"{mapped}/?view=map")
    expect(listed(page)).to_have_count(FACES // 2)
    page.mouse.move(*middle(page))
    page.mouse.wheel(0, -900)
    page.wait_for_url("**at=*")
    expect(page.locator("#map-count")).not_to_contain_text(f"{FACES} of")
    shown = page.locator("#map-count").inner_text()
    again = open_page(page.url)
    expect(again.locator("#map-count")).to_have_text(shown)
    again.keyboard.press("0")
    expect(again.locator("#map-count")).to_have_text(f"{FACES} of {FACES} faces in view")
    assert "at=" not in again.url


def test_chips_choose_what_is_bright(mapped: str, open_page: Open) -> None:
    page = open_page(f"{mapped}/?view=map")
    expect(page.locator("#map-count")).to_contain_text(f"{FACES} of")
    page.locator("#chips [data-emotion='happy']").click()
    page.wait_for_url("**emotion=happy*")
    expect(page.locator("#map-count")).not_to_contain_text(f"{FACES} of")
    expect(page.locator("#map-list li:not([data-emotion='happy'], [data-emotion='pleased'])")).to_have_count(0)
    expect(listed(page).first).to_be_visible()
    page.get_by_role("link", name="Images", exact=True).click()
    expect(page.locator("#length")).to_contain_text("most probable first")


def test_a_point_shows_its_thumbnail_and_opens_its_image(mapped: str, open_page: Open) -> None:
    page = open_page(f"{mapped}/?view=map")
    expect(listed(page).first).to_be_visible()
    x, y = middle(page)
    found = page.evaluate(
        """async () => {
          const bytes = await (await fetch("/api/v1/map/points")).arrayBuffer();
          const head = new DataView(bytes).getUint32(0, true);
          const { points } = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, head)));
          const first = (skipped) => new Uint16Array(bytes, 4 + head + 2 * skipped, points)[0] / 65535;
          return [first(0), first(points)];
        }"""
    )
    box = page.locator("#map-stage").bounding_box()
    side = min(box["width"], box["height"])
    at = (x + (found[0] - 0.5) * side, y - (found[1] - 0.5) * side)
    page.mouse.move(*at)
    expect(page.locator("#map-tip img")).to_be_visible()
    page.mouse.click(*at)
    expect(page.locator("#viewer")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#map-stage")).to_be_visible()


def test_a_line_around_points_selects_their_images(mapped: str, open_page: Open) -> None:
    page = open_page(f"{mapped}/?view=map")
    expect(listed(page).first).to_be_visible()
    box = page.locator("#map-stage").bounding_box()
    page.get_by_role("button", name="Draw a line around faces").click()
    left, top, right, bottom = box["x"] + 3, box["y"] + 3, box["x"] + box["width"] - 3, box["y"] + box["height"] - 3
    page.mouse.move(left, (top + bottom) / 2)  # the corners are round
    page.mouse.down()
    for corner in ((left, top), (right, top), (right, bottom), (left, bottom)):
        page.mouse.move(*corner, steps=4)
    page.mouse.up()
    expect(page.locator("#selection")).to_be_visible()
    expect(page.locator("#map-list input:checked")).to_have_count(FACES // 2)
    expect(page.locator("#selection-count")).to_have_text(f"{FACES} images selected")
    page.keyboard.press("Escape")
    expect(page.locator("#selection")).to_be_hidden()


def test_the_list_selects_and_opens_without_a_mouse(mapped: str, open_page: Open) -> None:
    page = open_page(f"{mapped}/?view=map")
    page.locator("#map-list input").first.focus()
    page.keyboard.press("Space")
    expect(page.locator("#selection-count")).to_have_text("1 image selected")
    page.locator("#map-list button").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#viewer")).to_be_visible()


def test_webgl_draws_points(mapped: str, open_page: Open) -> None:
    page = open_page(f"{mapped}/?view=map")
    expect(listed(page).first).to_be_visible()
    assert page.evaluate("() => document.querySelector('#map-canvas').getContext('webgl') !== null")
    expect(page.locator("#map-note")).not_to_contain_text("WebGL")
    assert page.locator("#map-stage").screenshot() != blank(page)


def blank(page: Any) -> bytes:
    """Return the picture of the map without its points."""
    page.evaluate("() => { document.querySelector('#map-canvas').style.visibility = 'hidden'; }")
    return bytes(page.locator("#map-stage").screenshot())


def test_a_browser_without_webgl_draws_the_map_too(mapped: str, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 1100, "height": 700})
    context.add_init_script(
        """const real = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
          return kind === "webgl" ? null : real.call(this, kind, ...more);
        };"""
    )
    page = context.new_page()
    page.goto(f"{mapped}/?view=map")
    expect(page.locator("#map-note")).to_contain_text("This browser has no WebGL")
    expect(listed(page).first).to_be_visible()
    assert painted(page) > FACES
    context.close()


@pytest.mark.parametrize("options", [{}, PHONE, {"color_scheme": "dark", "reduced_motion": "reduce"}])
def test_the_map_has_no_barrier(mapped: str, open_page: Open, options: dict[str, Any]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = open_page(f"{mapped}/?view=map", **options)
    expect(listed(page).first).to_be_visible()
    results = axe.Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_a_map_that_was_made_again_is_loaded_again(own_site: str, open_page: Open, home: Path) -> None:
    assert run_process(home, "map").returncode == 0
    page = open_page(f"{own_site}/?view=map", expected=(409,))
    expect(listed(page).first).to_be_visible()
    assert run_process(home, "map").returncode == 0
    with page.expect_response(lambda answer: answer.url.endswith("/map/points") and answer.status == 200):
        page.locator("#chips [data-emotion='happy']").click()
    expect(page.locator("#map-count")).to_contain_text("24 of")
    expect(page.locator("#toasts .error")).to_have_count(0)


def test_labels_color_points_and_new_images_are_counted(own_site: str, open_page: Open, home: Path, tmp_path: Path) -> None:
    assert run_process(home, "map").returncode == 0
    page = open_page(f"{own_site}/?view=map")
    expect(listed(page).first).to_be_visible()
    page.locator("#map-list input").first.check()
    page.locator("#selection-labels").get_by_role("button", name="Label disgust", exact=True).click()
    expect(page.locator("#map-list li[data-emotion='disgust'] input:checked")).to_have_count(1)
    folder = tmp_path / "more"
    folder.mkdir()
    from PIL import Image

    Image.new("RGB", (200, 200), "teal").save(folder / "new.png")
    assert run_process(home, "index", folder).returncode == 0
    page.reload()
    expect(page.locator("#map-note")).to_contain_text("1 face is not on the map yet")
    expect(page.get_by_role("button", name="Update the map")).to_be_visible()
