"""Who may ask the server, and what every answer carries. The application behind the guard answers everything."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from indexer.domain.errors import MoodexError
from web.access import TOKEN_FILE, Access, access_to, is_loopback
from web.security import COOKIE, Guard

METHODS = ["GET", "POST", "PUT", "DELETE"]


def client(access: Access, base: str = "http://127.0.0.1:8765") -> TestClient:
    async def answer(request: Request) -> Response:
        return PlainTextResponse(str(request.url.query))

    app = Starlette(routes=[Route("/{path:path}", answer, methods=METHODS)])
    return TestClient(Guard(app, access), base_url=base, follow_redirects=False)


@pytest.fixture
def local(tmp_path: Path) -> TestClient:
    return client(access_to("127.0.0.1", (), tmp_path))


@pytest.fixture
def remote(tmp_path: Path) -> tuple[TestClient, str]:
    access = access_to("192.0.2.7", ("pictures.example",), tmp_path)
    assert access.token
    return client(access, "http://192.0.2.7:8765"), access.token


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8765", "localhost:9000", "LOCALHOST", "[::1]:8765", "[::1]"])
def test_a_local_server_answers_to_its_own_names(local: TestClient, host: str) -> None:
    assert local.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8765",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "192.0.2.7",
        "",
        "127.0.0.1@evil.example",
    ],
)
def test_a_local_server_refuses_every_other_name(local: TestClient, host: str) -> None:
    answer = local.get("/", headers={"host": host})
    assert answer.status_code == 421
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_further_name_can_be_allowed(tmp_path: Path) -> None:
    allowed = client(access_to("127.0.0.1", ("Pictures.Example",), tmp_path))
    assert allowed.get("/", headers={"host": "pictures.example"}).status_code == 200
    assert allowed.get("/", headers={"host": "other.example"}).status_code == 421


def test_a_remote_server_answers_to_addresses_and_its_names_only(remote: tuple[TestClient, str]) -> None:
    browser, token = remote
    bearer = {"authorization": f"Bearer {token}"}
    for host in ("192.0.2.7:8765", "198.51.100.1", "[2001:db8::1]:8765", "pictures.example", "localhost"):
        assert browser.get("/", headers={"host": host, **bearer}).status_code == 200, host
    assert browser.get("/", headers={"host": "evil.example", **bearer}).status_code == 421


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://127.0.0.1:9999", "null", "file://", "http://127.0.0.1.evil.example"]
)
def test_requests_of_other_origins_are_refused(local: TestClient, method: str, origin: str) -> None:
    assert local.request(method, "/api/v1/labels", headers={"origin": origin}).status_code == 403


@pytest.mark.parametrize("method", METHODS)
def test_requests_of_the_page_itself_pass(local: TestClient, method: str) -> None:
    headers = {"origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
    assert local.request(method, "/api/v1/labels", headers=headers).status_code == 200


@pytest.mark.parametrize("method", METHODS)
def test_programs_that_are_no_browsers_pass(local: TestClient, method: str) -> None:
    assert local.request(method, "/api/v1/labels").status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_neither_read_nor_embed(local: TestClient, site: str) -> None:
    for mode in ("no-cors", "cors", "navigate"):
        headers = {"sec-fetch-site": site, "sec-fetch-mode": mode}
        assert local.get("/api/v1/images", headers=headers).status_code == 403, mode
        assert local.post("/", headers=headers).status_code == 403, mode
    assert local.get("/static/page.js", headers={"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}).status_code == 403


def test_a_link_on_another_site_may_open_the_page(local: TestClient) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert local.get("/?emotion=sad", headers=headers).status_code == 200


def test_every_answer_carries_the_security_headers(local: TestClient) -> None:
    for headers in ({}, {"host": "evil.example"}, {"origin": "http://evil.example"}):
        answer = local.get("/", headers=headers)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers


def test_a_preflight_of_another_site_is_refused(local: TestClient) -> None:
    headers = {"origin": "http://evil.example", "access-control-request-method": "PUT"}
    answer = local.options("/api/v1/labels", headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_a_remote_server_needs_the_token(remote: tuple[TestClient, str]) -> None:
    browser, token = remote
    for headers in ({}, {"authorization": "Bearer "}, {"authorization": f"Bearer {token}x"}, {"authorization": f"Basic {token}"}):
        answer = browser.get("/api/v1/images", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    assert browser.get("/api/v1/images", headers={"authorization": f"bearer {token}"}).status_code == 200
    assert browser.get("/", params={"token": "wrong"}).status_code == 401
    assert browser.get("/", headers={"cookie": f"{COOKIE}=wrong"}).status_code == 401


def test_tokens_are_compared_in_constant_time(remote: tuple[TestClient, str], monkeypatch: pytest.MonkeyPatch) -> None:
    browser, token = remote
    compared: list[tuple[bytes, bytes]] = []

    def compare(given: bytes, right: bytes) -> bool:
        compared.append((given, right))
        return False

    monkeypatch.setattr("web.access.secrets.compare_digest", compare)
    assert browser.get("/", headers={"authorization": f"Bearer {token}"}).status_code == 401
    assert browser.get("/", headers={"cookie": f"{COOKIE}={token}"}).status_code == 401
    assert browser.get("/", params={"token": token}).status_code == 401
    assert compared.count((token.encode(), token.encode())) == 3


def test_the_link_signs_in_and_loses_the_token(remote: tuple[TestClient, str]) -> None:
    browser, token = remote
    answer = browser.get(f"/?emotion=sad&token={token}&under=a%26b")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/?emotion=sad&under=a%26b"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert browser.get("/").status_code == 200


def test_the_link_never_leads_to_another_host(remote: tuple[TestClient, str]) -> None:
    browser, token = remote
    answer = browser.get(f"http://192.0.2.7:8765//evil.example/?token={token}")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/evil.example/"


def test_a_token_in_the_address_allows_no_write(remote: tuple[TestClient, str]) -> None:
    browser, token = remote
    assert browser.post(f"/api/v1/runs?token={token}").status_code == 401


def test_the_token_is_kept_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    first = access_to("0.0.0.0", (), tmp_path).token
    assert first
    assert len(first) >= 32
    assert access_to("::", (), tmp_path).token == first
    assert stat.S_IMODE((tmp_path / TOKEN_FILE).stat().st_mode) == 0o600


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    access_to("0.0.0.0", (), tmp_path)
    (tmp_path / TOKEN_FILE).chmod(0o644)
    with pytest.raises(MoodexError, match="Others can read the token"):
        access_to("0.0.0.0", (), tmp_path)


def test_a_short_token_is_refused(tmp_path: Path) -> None:
    access_to("0.0.0.0", (), tmp_path)
    (tmp_path / TOKEN_FILE).write_text("secret")
    with pytest.raises(MoodexError, match="too short"):
        access_to("0.0.0.0", (), tmp_path)


def test_a_local_server_has_no_token(tmp_path: Path) -> None:
    assert access_to("localhost", (), tmp_path).token is None
    assert not (tmp_path / TOKEN_FILE).exists()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("LocalHost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("a.b", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_websockets_are_refused(local: TestClient) -> None:
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), local.websocket_connect("/api/v1/x"):
        pass
