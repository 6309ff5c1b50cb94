"""The page, which comes with its first images and is filled by its scripts, and the signs of life of the server."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.templating import Jinja2Templates
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from indexer.domain.errors import MoodexError
from indexer.scheduling.run_support import collect_metrics
from web.answers import AsciiJSON
from web.api.filters import Filters
from web.api.search import newest_page
from web.assets import Assets
from web.schemas import Health
from web.serving import Here, Serving
from web.thumbnails import Side

if TYPE_CHECKING:
    from fastapi import FastAPI

_HERE = Path(__file__).parent
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_FIRST_PAGE = 100
"""Images of the first page, as many as the scripts ask for at a time (`PAGE` in hits.js)."""

_FIRST_TILES = 6
"""Images whose thumbnails the document itself asks for: the first row of a wide page, two rows of a phone's."""

router = APIRouter()
templates = Jinja2Templates(_HERE / "templates")
templates.env.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}

_ASSETS = Assets()


def serve_assets(app: FastAPI) -> None:
    """Let an application answer requests for the scripts, styles and icons of the page."""
    _ASSETS.serve_with(app)


@router.get("/", include_in_schema=False)
def page(request: Request, serving: Here) -> Response:
    """Return the page. Browsers keep no copy of it: it shows images of the library."""
    first_page = None if request.url.query else _first_page(serving)
    facts = {
        "version": program_version(),
        "assets": _ASSETS.base,
        "scripts": _ASSETS.first_scripts,
        "first_page": first_page,
        "first_tiles": [] if first_page is None else first_page["hits"][:_FIRST_TILES],
        "side": Side.MEDIUM.value,
    }
    return templates.TemplateResponse(request, "index.html", facts)


def _first_page(serving: Serving) -> dict[str, Any] | None:
    """Return the first page of all images; None if that fails: the scripts then ask for it, and report the error."""
    try:
        return newest_page(serving, Filters.model_validate({"limit": _FIRST_PAGE}))
    except MoodexError:
        return None


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
