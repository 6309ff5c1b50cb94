"""The page, which is made on the server once and filled by its scripts, and the signs of life of the server."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.templating import Jinja2Templates
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from indexer.scheduling.run_support import collect_metrics
from web.answers import AsciiJSON
from web.assets import Assets
from web.schemas import Health
from web.serving import Here

if TYPE_CHECKING:
    from fastapi import FastAPI

_HERE = Path(__file__).parent
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

router = APIRouter()
templates = Jinja2Templates(_HERE / "templates")


_CHECKED = {"Cache-Control": "private, no-cache"}
"""A browser asks each time whether the page is current; its parts have a version in their addresses."""

_ASSETS = Assets()


def serve_assets(app: FastAPI) -> None:
    """Let an application answer requests for the scripts, styles and icons of the page."""
    _ASSETS.serve_with(app)


@router.get("/", include_in_schema=False)
def page(request: Request) -> Response:
    """Return the page."""
    facts = {
        "version": program_version(),
        "assets": _ASSETS.base,
        "scripts": _ASSETS.first_scripts,
        "is_plain": not request.url.query,
    }
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
