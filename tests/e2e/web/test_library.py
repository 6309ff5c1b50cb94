"""The view of the library: runs, failures, jobs and the check. And libraries that are empty, or have strange names."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from tests.e2e.web.conftest import Open, example, playwright

expect = playwright.expect

Serve = Callable[..., AbstractContextManager[str]]


def test_a_run_is_started_followed_and_listed(library: Serve, tmp_path: Path, open_page: Open) -> None:
    folder = tmp_path / "drawings"
    folder.mkdir()
    shutil.copy(example("noto/noto-02.png"), folder)
    with library(folder) as site:
        page = open_page(f"{site}/?view=library")
        expect(page.locator("#library-status")).to_contain_text("1 image.")
        expect(page.locator("#runs-list tbody tr")).to_have_count(1)
        shutil.copy(example("noto/noto-03.png"), folder)
        (folder / "broken.png").write_bytes(b"no image")
        page.get_by_role("button", name=f"Index {folder} again").click()
        expect(page.locator("#run-result")).to_contain_text("1 indexed, 1 failed", timeout=60_000)
        expect(page.locator("#library-status")).to_contain_text("2 images.")
        expect(page.locator("#runs-list tbody tr")).to_have_count(2)
        expect(page.locator("#failures")).to_contain_text("broken.png")
        expect(page.locator("#jobs")).to_contain_text("No job is scheduled.")
        page.get_by_role("button", name="Check now").click()
        expect(page.locator("#doctor")).to_contain_text("The library is sound.", timeout=60_000)
        page.get_by_role("link", name="Images", exact=True).click()
        expect(page.locator("#grid .tile")).to_have_count(2)


def test_an_empty_library_says_what_to_do(library: Serve, open_page: Open) -> None:
    with library() as site:
        page = open_page(site, expected=(404,))
        expect(page.locator("#empty h2")).to_have_text("Your library is empty")
        expect(page.locator("#empty")).to_contain_text("moodex index FOLDER")
        page.get_by_role("button", name="Copy the command").click()
        expect(page.locator("#toasts")).to_contain_text("Copied.")
        page.get_by_role("link", name="Teach").click()
        expect(page.locator("#queue")).not_to_be_empty()
        page.get_by_role("link", name="Library").click()
        expect(page.locator("#roots")).to_contain_text("Nothing is indexed yet.")


def test_names_with_html_are_text(library: Serve, tmp_path: Path, open_page: Open) -> None:
    folder = tmp_path / "<b>folder"
    folder.mkdir()
    names = [
        "<script>document.title='broken'<script>.png",
        "<img src=x onerror=document.title='broken'>.png",
        "\u202egnp.exe .png",
    ]
    for name in names:
        shutil.copy(example("noto/noto-02.png"), folder / name)
    with library(folder) as site:
        page = open_page(site)
        expect(page.locator("#grid .tile")).to_have_count(3)
        page.locator("#panel-button").click()
        expect(page.locator("#folders")).to_contain_text("<b>folder")
        page.locator("#tile-0").click()
        expect(page.locator("#viewer .paths code")).to_have_count(3)
        for name in names[:2]:
            expect(page.locator("#viewer .paths")).to_contain_text(name)
        page.locator("#viewer .bars [data-emotion=happy]").click()
        expect(page.locator("#toasts")).to_contain_text("Labeled 1 image happy.")
        page.keyboard.press("m")
        expect(page.locator("#subject")).to_contain_text("reads as")
        page.goto(f"{site}/?view=library")
        expect(page.locator("#roots")).to_contain_text("<b>folder")
        expect(page.locator("script:not([src]), #viewer img[onerror], b")).to_have_count(0)
        expect(page).to_have_title("Library · moodex")
