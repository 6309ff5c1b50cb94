"""Draw docs/assets/happy.png: the contact sheet of `moodex search --emotion happy` over the example images.

    python docs/make_screenshot.py [--browser chromium] [--output docs/assets/happy.png]

The script needs moodex in its Python environment, and Chromium (Debian: `apt-get install chromium`).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
RESULT_COUNT = 12
WIDTH, HEIGHT = 1140, 640
"""The window in CSS pixels: two rows of six cards."""
COLORS = 256
MAX_BYTES = 300_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", default="chromium")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/assets/happy.png")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page, screenshot = Path(folder, "happy.html"), Path(folder, "happy.png")
        moodex("index", "examples/images", home=folder)
        page.write_text(
            moodex("search", "--emotion", "happy", "-k", str(RESULT_COUNT), "--format", "html", home=folder), encoding="utf-8"
        )
        render(options.browser, page, screenshot, Path(folder, "profile"))
        shrink(screenshot, options.output)
    size = options.output.stat().st_size
    print(f"{options.output}: {size:,} bytes")
    if size > MAX_BYTES:
        sys.exit(f"The limit is {MAX_BYTES:,} bytes.")


def moodex(*arguments: str, home: str) -> str:
    """Run a command of this checkout on a library in `home`; return its standard output."""
    environment = {**os.environ, "MOODEX_HOME": str(Path(home, "library"))}
    command = [sys.executable, "cli.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def render(browser: str, page: Path, screenshot: Path, profile: Path) -> None:
    """Write a PNG of a page in a window of WIDTH x HEIGHT."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=2"]
    flags += [f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={screenshot}"]
    subprocess.run([browser, *flags, page.as_uri()], check=True, capture_output=True, timeout=120)


def shrink(screenshot: Path, output: Path) -> None:
    """Reduce a PNG to COLORS colors and write it to `output`."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(screenshot) as image:
        image.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(output, optimize=True)


if __name__ == "__main__":
    main()
