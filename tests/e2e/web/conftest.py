"""A server of its own for the page's tests, and a browser that reports every error of the page."""

from __future__ import annotations

import base64
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import EXAMPLES, ROOT, environment, run_process

playwright = pytest.importorskip("playwright.sync_api", reason="the tests of the page need: pip install playwright")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

WIDE = {"width": 1280, "height": 800}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}

FAILED_LOADS = ("Failed to load resource", "Failed to fetch dynamically imported module")
"""What Chromium says on the console after an answer with the status of an error."""

_WAIT_MS = 60_000
playwright.expect.set_options(timeout=_WAIT_MS)
_END_SECONDS = 30

_SEND = """([kind, data]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const carrier = new DataTransfer();
  carrier.items.add(new File([bytes], "drawing.png", {type: "image/png"}));
  if (kind === "paste") window.dispatchEvent(new ClipboardEvent("paste", {clipboardData: carrier}));
  else for (const name of ["dragenter", "dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(name, {dataTransfer: carrier, bubbles: true, cancelable: true}));
  }
}"""

Open = Callable[..., Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("process")
            item.add_marker("heavy")
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="the tests of the page need Chromium: apt-get install chromium"))


@contextmanager
def served(home: Path) -> Iterator[str]:
    """Serve the library of a data folder in a process; yield the address of the page, without a slash at its end."""
    command = [sys.executable, ROOT / "cli.py", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(home)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline().decode()
        assert line.startswith("http://"), process.stderr.read().decode()
        try:
            yield line.strip().rstrip("/")
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=_END_SECONDS)


@pytest.fixture(scope="session")
def site(examples_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a page on the examples. Tests change nothing there."""
    home = tmp_path_factory.mktemp("site") / "home"
    shutil.copytree(examples_home, home)
    with served(home) as address:
        yield address


@pytest.fixture
def own_site(examples_home: Path, home: Path) -> Iterator[str]:
    """The address of a page on the examples, which a test may change."""
    shutil.copytree(examples_home, home)
    with served(home) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Open a page at an address, with options of the browser's context. Each must show no error and ask no other host."""
    contexts = []
    wrong: list[str] = []

    def open_at(address: str, *, expected: tuple[int, ...] = (), **options: Any) -> Any:
        """`expected`: the statuses of errors that this test provokes."""
        context = browser.new_context(**{"viewport": WIDE, "permissions": ["clipboard-read", "clipboard-write"], **options})
        context.set_default_timeout(_WAIT_MS)
        contexts.append(context)
        page = context.new_page()

        def check_answer(answer: Any) -> None:
            if answer.status >= 400 and answer.status not in expected:
                wrong.append(f"{answer.status} {answer.url}")

        def check_request(request: Any) -> None:
            if not request.url.startswith(("http://127.0.0.1:", "blob:", "data:")):
                wrong.append(f"asks {request.url}")

        def check_message(message: Any) -> None:
            is_expected = expected and any(words in message.text for words in FAILED_LOADS)
            if message.type in ("error", "warning") and not is_expected:
                wrong.append(f"console: {message.text}")

        page.on("response", check_answer)
        page.on("request", check_request)
        page.on("console", check_message)
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.goto(address)
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert not wrong, wrong


@pytest.fixture
def library(home: Path) -> Callable[..., Iterator[str]]:
    """Index folders into an empty library, and serve it."""

    @contextmanager
    def serve_folders(*folders: Path) -> Iterator[str]:
        for folder in folders:
            done = run_process(home, "index", folder)
            assert done.returncode == 0, done.stderr.decode()
        with served(home) as address:
            yield address

    return serve_folders


def example(name: str) -> Path:
    """Return an example image by its path below the folder of examples."""
    return EXAMPLES / name


def send_image(page: Any, kind: str, path: Path) -> None:
    """Let a page get a PNG file, by `kind`: "drop" or "paste"."""
    page.evaluate(_SEND, [kind, base64.b64encode(path.read_bytes()).decode()])
