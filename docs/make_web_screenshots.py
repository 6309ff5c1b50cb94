"""Draw docs/assets/web-*.webp: the page of `moodex serve` over the example images.

    python docs/make_web_screenshots.py [--browser chromium] [--output docs/assets]

The script needs moodex with the extra `dev` in its Python environment, and Chromium (Debian: `apt-get install chromium`). It
indexes a copy of the images, and no screenshot shows a path of this machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
QUALITY = 86
MAX_BYTES = 160_000
WAIT_MS = 60_000
BROWSER_OPTIONS = ["--no-sandbox", "--no-zygote", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
"""With these, the map is drawn by WebGL on a machine without a GPU, too."""


class Shot(NamedTuple):
    """A screenshot: its name, the address, the window in CSS pixels, the colors, and what is done before it."""

    name: str
    address: str
    size: tuple[int, int]
    scheme: str
    prepare: Callable[[Any], None]


def grid(page: Any) -> None:
    expect(page.locator("#grid .tile.loaded").first).to_be_visible()
    expect(page.locator("#grid .tile:not(.loaded)")).to_have_count(0)


def one_image(page: Any) -> None:
    grid(page)
    page.locator("#grid .tile[aria-label*='lorelei-01']").click()
    expect(page.locator("#viewer .bars")).to_be_visible()
    expect(page.locator("#viewer img.large")).to_be_visible()
    expect(page.locator("#viewer img.small")).to_have_count(0)
    page.locator("#viewer-title").hover()


def the_same_but_sad(page: Any) -> None:
    one_image(page)
    page.get_by_role("button", name="More like this, but sad").click()
    expect(page.locator("#subject .seen")).to_be_visible()
    page.locator("#names").hover()
    grid(page)


def the_map(page: Any) -> None:
    expect(page.locator("#map-list li").first).to_be_visible()
    page.wait_for_function("() => [...document.querySelectorAll('#map-list img')].every((one) => one.complete)")


def selection(page: Any) -> None:
    grid(page)
    for number in (1, 2, 5):
        page.locator(f"#tile-{number}").click(modifiers=["Control"])
    page.locator("#length").hover()
    page.locator("#panel-button").click()
    expect(page.locator("#folders .folder").first).to_be_visible()
    page.get_by_role("button", name="Folders in").click()
    expect(page.locator("#folders .folder").nth(8)).to_be_visible()
    grid(page)


def suggestions(page: Any) -> None:
    expect(page.locator(".card")).to_be_visible()
    page.keyboard.press("1")
    expect(page.locator(".card")).to_contain_text("Image 2 of")
    page.keyboard.press("s")
    expect(page.locator(".card")).to_contain_text("Image 3 of")
    page.locator(".toast button").last.click()


SHOTS = (
    Shot("grid", "/", (1280, 800), "light", grid),
    Shot("image", "/?emotion=surprise", (1280, 720), "light", one_image),
    Shot("but-sad", "/?emotion=surprise", (1280, 800), "dark", the_same_but_sad),
    Shot("map", "/?view=map&emotion=happy", (1280, 800), "light", the_map),
    Shot("selection", "/", (1280, 800), "light", selection),
    Shot("teach", "/?view=teach", (1280, 800), "light", suggestions),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", default="chromium")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/assets")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(options.browser), args=BROWSER_OPTIONS)
        for shot in SHOTS:
            take(browser, site, shot, options.output / f"web-{shot.name}.webp")
        browser.close()


def take(browser: Any, site: str, shot: Shot, output: Path) -> None:
    """Take a screenshot, and write it as WebP."""
    width, height = shot.size
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=shot.scheme, reduced_motion="reduce")
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.goto(site + shot.address)
    shot.prepare(page)
    with Image.open(BytesIO(page.screenshot())) as image:
        image.save(output, quality=QUALITY, method=6)
    context.close()
    size = output.stat().st_size
    print(f"{output}: {size:,} bytes")
    if size > MAX_BYTES:
        sys.exit(f"The limit is {MAX_BYTES:,} bytes.")


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Index the example images, and serve them; yield the address."""
    environment = {**os.environ, "MOODEX_HOME": str(folder / "library")}
    command = [sys.executable, str(ROOT / "cli.py")]
    images = folder / "pictures/stickers"
    shutil.copytree(ROOT / "examples/images", images)
    for words in (["index", images], ["map"]):
        subprocess.run([*command, *words], env=environment, check=True, capture_output=True)
    with subprocess.Popen([*command, "serve", "--port", "0"], env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield next(iter(server.stdout or ())).strip().rstrip("/")
        finally:
            server.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    expect.set_options(timeout=WAIT_MS)
    main()
