"""The rules that hold for every request and every answer, as an ASGI middleware."""

from __future__ import annotations

from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse

from web.problems import problem

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from web.access import Access

COOKIE = "moodex_token"
_COOKIE_SECONDS = 90 * 24 * 3600
_READING = ("GET", "HEAD", "OPTIONS")
_OWN_SITES = ("same-origin", "none")
"""What a browser says of a request from the page itself, and of one that the user typed."""

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "font-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """Refuses requests of other sites and of strangers, and adds security headers to every answer.

    - The Host header must name this server: a page whose name leads to this machine (DNS rebinding) asks by its own name.
    - A write must come from the page itself, or from a program that is no browser. So must a read, unless it opens a page.
    - With a token, each request presents it: in a cookie, in the header `Authorization: Bearer`, or, once, in the address.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        """Return the answer to a request that is refused; None for one that passes."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.admits(hosts[0]):
            return problem(
                HTTPStatus.MISDIRECTED_REQUEST, "This server has another name. Start it with --allow-host NAME to add one."
            )
        if not _is_from_here(scope, headers, hosts[0]):
            return problem(HTTPStatus.FORBIDDEN, "The request comes from a page of another site.")
        return None if self._access.token is None else self._without_token(scope, headers)

    def _without_token(self, scope: Scope, headers: Headers) -> Response | None:
        """Return the answer to a request without the token; None if it presents it."""
        scheme, _, presented = headers.get("authorization", "").partition(" ")
        if (scheme.lower() == "bearer" and self._access.knows(presented.strip())) or self._access.knows(_cookie(headers)):
            return None
        words = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = dict(words).get("token", "")
        if scope["method"] == "GET" and given and self._access.knows(given):
            return self._signed_in(scope["path"], [word for word in words if word[0] != "token"])
        answer = problem(HTTPStatus.UNAUTHORIZED, "Open the link that moodex serve printed, or send its token.")
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    def _signed_in(self, path: str, words: list[tuple[str, str]]) -> Response:
        """Return the answer that keeps the token in a cookie, and leads to the same address without it."""
        # One slash: two would lead to another host.
        target = "/" + path.lstrip("/\\") + (f"?{urlencode(words)}" if words else "")
        answer = RedirectResponse(target, HTTPStatus.SEE_OTHER, {"Cache-Control": "no-store"})
        token = self._access.token or ""
        answer.set_cookie(COOKIE, token, max_age=_COOKIE_SECONDS, httponly=True, samesite="strict", path="/")
        return answer


def _is_from_here(scope: Scope, headers: Headers, host: str) -> bool:
    """Return whether a request comes from the page of this server, from the user's hand, or from no browser."""
    is_reading = scope["method"] in _READING
    site = headers.get("sec-fetch-site")
    if site is not None and site not in _OWN_SITES:
        # A link on another site may open a page; only that, and only to read.
        return is_reading and headers.get("sec-fetch-mode") == "navigate" and not scope["path"].startswith("/api/")
    origin = headers.get("origin")
    if origin is None:
        return True
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return send_with_headers
