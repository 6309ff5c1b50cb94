"""Limits of what one client can take: the time of a request, and the number of analyses at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from web.problems import ProblemError, problem

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_UPLOAD_BYTES = 32 << 20
"""Size of an uploaded image."""

MAX_BODY_BYTES = 1 << 20
"""Size of any other body: the ids of `MAX_SELECTED` images take 0.7 MB."""

FORM_BYTES = 1 << 16
"""Room for the headers of a form around its file."""

_TOO_LARGE = "The body of the request exceeds the limit of {:,} bytes."

ANSWER_SECONDS = 120.0
BODY_SECONDS = 30.0
_RETRY_SECONDS = 2


class BodyLimit:
    """Refuses a body that is larger than a limit, before it is read or once it turns out to be."""

    def __init__(self, app: ASGIApp, uploads: Collection[str]) -> None:
        """`uploads` are the paths to which images are sent."""
        self._app, self._uploads = app, uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = MAX_UPLOAD_BYTES + FORM_BYTES if scope["path"] in self._uploads else MAX_BODY_BYTES
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal() or int(length) > most:
            await _too_large(most)(scope, receive, send)
            return
        received = 0

        async def receive_some() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE.format(most))
            return message

        await self._app(scope, receive_some, send)


def _too_large(most: int) -> Response:
    return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE.format(most))


class Deadlines:
    """Ends requests that take too long: a part of the body that does not arrive, or an answer that does not begin.

    An answer that has begun may take any time: a download, or the events of a run.
    """

    def __init__(self, app: ASGIApp, answer_seconds: float = ANSWER_SECONDS, body_seconds: float = BODY_SECONDS) -> None:
        self._app, self._answer_seconds, self._body_seconds = app, answer_seconds, body_seconds
        self._late: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = is_late = is_received = False

        async def receive_in_time() -> Message:
            nonlocal is_received
            if is_received:
                return await receive()  # waits until the client is gone
            async with asyncio.timeout(self._body_seconds):
                message = await receive()
            is_received = not message.get("more_body", False)
            return message

        async def send_in_time(message: Message) -> None:
            nonlocal has_begun
            if not is_late:
                has_begun = True
                await send(message)

        work = asyncio.create_task(self._run(scope, receive_in_time, send_in_time))
        try:
            await asyncio.wait({work}, timeout=self._answer_seconds)
            if not work.done() and not has_begun:
                is_late = True
                self._late.add(work)  # a thread cannot be stopped: its answer is dropped when it comes
                work.add_done_callback(self._late.discard)
                await problem(HTTPStatus.SERVICE_UNAVAILABLE, "The answer takes too long; ask for less.")(scope, receive, send)
                return
            await work
        except asyncio.CancelledError:
            work.cancel()
            raise

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except TimeoutError:
            await problem(HTTPStatus.REQUEST_TIMEOUT, "The body of the request did not arrive.")(scope, receive, send)


class Analyses:
    """Bounds the analyses that run at the same time, which take all the time of a core each."""

    def __init__(self, most: int) -> None:
        self._free = threading.BoundedSemaphore(most)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Run one analysis in the `with` block. Raises ProblemError if there are as many as allowed."""
        if not self._free.acquire(blocking=False):
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS, "The server analyzes as many images as it can; try again.", _RETRY_SECONDS
            )
        try:
            yield
        finally:
            self._free.release()
