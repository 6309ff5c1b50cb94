"""The files of the page: which scripts come first, how long browsers keep them, and what is compressed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from indexer.settings import Settings
from tests.support.web import API
from web.access import access_to
from web.app import create_app
from web.assets import SHEETS, Assets
from web.serving import open_serving

SCRIPTS = Path("web/static/js")
SHEET_FOLDER = Path("web/static/css")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """A server that others than this machine may ask, with its token."""
    access = access_to("192.0.2.7", (), tmp_path)
    headers = {"Authorization": f"Bearer {access.token}", "Accept-Encoding": "gzip"}
    with TestClient(
        create_app(open_serving(Settings(home=tmp_path)), access), base_url="http://192.0.2.7:8765", headers=headers
    ) as client:
        yield client


def test_the_first_scripts_are_those_that_the_first_one_imports_and_no_others() -> None:
    found = Assets().first_scripts
    assert found[0] == "main.js"
    assert len(found) == len(set(found)) <= 12
    late = {"page.js", "chips.js", "collect.js", "library.js", "map.js", "panel.js", "teach.js", "viewer.js"}
    assert late < {path.name for path in SCRIPTS.glob("*.js")}
    assert not late & set(found)
    assert all((SCRIPTS / name).is_file() for name in found)


def test_the_sheet_has_all_style_sheets() -> None:
    assert sorted(SHEETS) == sorted(path.stem for path in SHEET_FOLDER.glob("*.css"))
    assert all((SHEET_FOLDER / f"{name}.css").read_bytes() in Assets().sheet for name in SHEETS)


def test_the_page_names_the_parts_of_one_version(client: TestClient) -> None:
    page = client.get("/")
    base = Assets().base
    assert page.headers["cache-control"] == "no-store"
    assert page.text.count("/static/") == page.text.count(f'"{base}/') == len(Assets().first_scripts) + 3
    for part in (f"{base}/page.css", f"{base}/icon.svg", f"{base}/js/main.js", f"{base}/js/map.js"):
        assert client.get(part).headers["cache-control"] == "private, max-age=31536000, immutable", part


def test_another_version_is_not_found(client: TestClient) -> None:
    for version in ("", "/0123456789abcdef"):
        answer = client.get(f"/static{version}/js/main.js")
        assert answer.status_code == 404
        assert "max-age" not in answer.headers["cache-control"]


def test_a_changed_file_changes_the_version(tmp_path: Path) -> None:
    (tmp_path / "js").mkdir()
    versions = []
    for name, text in (("main.js", "1"), ("main.js", "2"), ("more.js", "")):
        (tmp_path / "js" / name).write_text(text)
        versions.append(Assets(tmp_path).version)
    assert len(set(versions)) == 3
    assert Assets(tmp_path).version == versions[-1]


def test_an_empty_library_has_a_page_without_images(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "first-page" not in page.text
    assert "/thumbnail" not in page.text


def as_sent(client: TestClient, path: str, **headers: str) -> tuple[Any, bytes]:
    """Return the headers of an answer, and its body as it was sent."""
    with client.stream("GET", path, headers=headers) as answer:
        return answer.headers, b"".join(answer.iter_raw())


def test_text_is_compressed_for_those_who_read_it(client: TestClient) -> None:
    for path in ("/", f"{Assets().base}/page.css", f"{Assets().base}/js/grid.js", f"{API}/openapi.json"):
        headers, body = as_sent(client, path)
        plain_headers, plain = as_sent(client, path, **{"Accept-Encoding": "identity"})
        assert headers["content-encoding"] == "gzip", path
        assert headers["vary"].lower() == plain_headers["vary"].lower() == "accept-encoding"
        assert "content-encoding" not in plain_headers
        assert zlib.decompress(body, 16 + zlib.MAX_WBITS) == plain
        assert len(body) < 0.6 * len(plain), path


def test_no_answer_contains_the_token(client: TestClient) -> None:
    """The length of a compressed answer can tell a stranger what is in it (BREACH)."""
    token = client.headers["authorization"].removeprefix("Bearer ")
    for path in (
        "/",
        f"/?emotion={token}",
        f"{API}/status",
        f"{API}/openapi.json",
        f"{API}/images/nothing",
        "/metrics",
        "/healthz",
    ):
        assert token not in client.get(path).text, path
