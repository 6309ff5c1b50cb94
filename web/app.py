"""The application: routes, errors, limits and security, over one library."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

from web import pages, problems
from web.api import collections, images, labels, library, map, runs, search, teaching
from web.limits import BodyLimit, Deadlines
from web.schemas import Problem
from web.security import Guard

if TYPE_CHECKING:
    from web.access import Access
    from web.serving import Serving

API = "/api/v1"
_LEAST_COMPRESSED_BYTES = 1024
_AS_THEY_ARE = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "image/*", "application/octet-stream")
"""Types of answers that are not compressed: images, archives and originals, which hardly become smaller, and streams of events.

No answer contains the token, which the length of a compressed answer could otherwise reveal (BREACH), and `Guard` refuses the
requests by which another site would try.
"""

_PROBLEM_SCHEMA = {"$ref": f"#/components/schemas/{Problem.__name__}"}


def create_app(serving: Serving, access: Access) -> FastAPI:
    """Return the application for a library. What `serving` keeps open ends with the application."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await to_thread.run_sync(serving.end)

    app = FastAPI(
        title="moodex",
        version=pages.program_version(),
        summary="Search drawings by emotion.",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # its pages load scripts from another host
        redoc_url=None,
        lifespan=lifespan,
        form_limits={"max_files": 1, "max_fields": 10, "max_part_size": 4096},
        responses={"default": {"model": Problem, "description": "An error, as RFC 9457 describes it."}},
    )
    app.openapi = partial(_description, app)  # type: ignore[method-assign]  # as FastAPI documents it
    app.state.serving = serving
    problems.add_handlers(app)
    api = APIRouter(prefix=API)
    for part in (search, images, map, labels, teaching, runs, library, collections):
        api.include_router(part.router)
    app.include_router(api)
    app.include_router(pages.router)
    pages.serve_assets(app)
    app.add_middleware(BodyLimit, uploads=(f"{API}/search", f"{API}/queries"))
    app.add_middleware(Deadlines)
    app.add_middleware(GZipMiddleware, minimum_size=_LEAST_COMPRESSED_BYTES, compresslevel=5, exclude_content_types=_AS_THEY_ARE)
    app.add_middleware(Guard, access=access)  # the outermost: it sees every request first
    return app


def _description(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description, in which errors have the type of problems."""
    if app.openapi_schema is None:
        app.openapi_schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        for route in app.openapi_schema["paths"].values():
            for operation in route.values():
                operation["responses"]["default"]["content"] = {"application/problem+json": {"schema": _PROBLEM_SCHEMA}}
    return app.openapi_schema
