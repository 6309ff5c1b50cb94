"""Errors as problem details of RFC 9457: a status, a title and one sentence."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from indexer.domain.errors import (
    ImageError,
    MapChanged,
    MissingExtra,
    MoodexError,
    NotIndexed,
    ReadersBusy,
    Unavailable,
    Unsupported,
    UsageError,
    WriterBusy,
)
from web.answers import AsciiJSON

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

_log = logging.getLogger(__name__)

_STATUSES: tuple[tuple[type[MoodexError], HTTPStatus], ...] = (
    (NotIndexed, HTTPStatus.NOT_FOUND),
    (MapChanged, HTTPStatus.CONFLICT),
    (UsageError, HTTPStatus.BAD_REQUEST),
    (WriterBusy, HTTPStatus.CONFLICT),
    (ReadersBusy, HTTPStatus.SERVICE_UNAVAILABLE),
    (MissingExtra, HTTPStatus.NOT_IMPLEMENTED),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (Unsupported, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    (ImageError, HTTPStatus.UNPROCESSABLE_ENTITY),
)
"""The status of each kind of error; the first that fits."""

_RETRY_SECONDS = 5


class ProblemError(Exception):
    """An error that only HTTP has. `retry_after`: seconds after which the same request may succeed."""

    def __init__(self, status: HTTPStatus, detail: str, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.retry_after = status, detail, retry_after


def problem(status: int, detail: str, retry_after: int | None = None, errors: list[dict[str, Any]] | None = None) -> Response:
    """Return an answer that describes an error."""
    title = HTTPStatus(status).phrase
    facts: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if errors:
        facts["errors"] = errors
    headers = {"Cache-Control": "no-store"} | ({} if retry_after is None else {"Retry-After": str(retry_after)})
    return AsciiJSON(facts, status, headers, media_type="application/problem+json")


def add_handlers(app: FastAPI) -> None:
    """Let an application answer every error with a problem."""
    app.add_exception_handler(MoodexError, _on_error)
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(Exception, _on_bug)


def _on_error(_request: Request, error: Exception) -> Response:
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s", error)
    is_temporary = isinstance(error, WriterBusy | ReadersBusy)
    return problem(status, str(error), _RETRY_SECONDS if is_temporary else None)


def _on_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101  # Starlette calls this handler for no other
    return problem(error.status, error.detail, error.retry_after)


def _on_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    answer = problem(error.status_code, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


def _on_validation(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    errors = [{"at": ".".join(map(str, one["loc"])), "message": one["msg"]} for one in error.errors()]
    first = errors[0]
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{first['at']}: {first['message']}.", errors=errors)


def _on_bug(_request: Request, error: Exception) -> Response:
    _log.error("Unexpected %s: %s", type(error).__name__, error, exc_info=error)
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, f"Unexpected {type(error).__name__}. Please report it, with the log of the server."
    )
