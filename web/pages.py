"""The page, which is made on the server once and filled by its scripts, and the signs of life of the server."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.templating import Jinja2Templates
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

from indexer.scheduling.run_support import collect_metrics
from web.answers import AsciiJSON
from web.schemas import Health
from web.serving import Here

_HERE = Path(__file__).parent
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

router = APIRouter()
templates = Jinja2Templates(_HERE / "templates")


_CHECKED = {"Cache-Control": "private, no-cache"}
"""A browser keeps the page and its parts, and asks each time whether they are current."""


class _Static(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(_CHECKED)
        return response


def static_files() -> StaticFiles:
    """Return the application that serves scripts, styles and icons."""
    return _Static(directory=_HERE / "static")


@router.get("/", include_in_schema=False)
def page(request: Request) -> Response:
    """Return the page."""
    facts = {"version": program_version(), "scripts": sorted(path.name for path in (_HERE / "static/js").glob("*.js"))}
    return templates.TemplateResponse(request, "index.html", facts, headers=_CHECKED)


@router.get("/healthz", tags=["server"], response_model=Health)
def health(serving: Here) -> Response:
    """Tell whether the server works and its library can be read."""
    if serving.library.database.exists():
        with serving.library.database.open(reading=True) as store:
            store.models()
    return AsciiJSON({"status": "ok", "version": program_version()})


@router.get("/metrics", tags=["server"], response_class=PlainTextResponse)
def metrics(serving: Here) -> Response:
    """Return the metrics of the library in Prometheus's text format."""
    return Response(collect_metrics(serving.library, up=None), media_type=_METRICS_TYPE)


def program_version() -> str:
    """Return the version of moodex."""
    try:
        return version("moodex")
    except PackageNotFoundError:
        return "0"
