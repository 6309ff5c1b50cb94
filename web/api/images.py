"""One image: its faces, its thumbnail, its file, and the explanation of its emotion."""

from __future__ import annotations

import os
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from indexer.domain.errors import Unreadable
from indexer.imaging.media_types import HEAD_BYTES, OTHER, media_type
from indexer.plain_data.hits import hit_as_dict
from indexer.search import pictures
from web.answers import FOREVER, AsciiJSON
from web.problems import ProblemError
from web.schemas import Explanation, Image, ImageId, Word
from web.serving import Here, Serving
from web.tasks import run_once
from web.thumbnails import MEDIA_TYPE, Side

if TYPE_CHECKING:
    from indexer.search.pictures import OpenFile

router = APIRouter(prefix="/images/{image_id}", tags=["images"])

_CHUNK_BYTES = 1 << 18
_EXPLAIN_SECONDS = 90.0


@router.get("", response_model=Image)
def show(serving: Here, image_id: ImageId, model: Annotated[Word | None, Query()] = None) -> Response:
    """Return an image with all its faces and files."""
    image = pictures.image(serving.with_model(model), image_id)
    faces = [hit_as_dict(hit) for hit in image.hits]
    files = [{"path": os.fsdecode(path), "exists": serving.library.source.has_file(path)} for path in image.paths]
    return AsciiJSON({**faces[0], "faces": faces, "files": files, "hidden": image.hidden})


@router.get("/thumbnail", response_class=Response, responses={200: {"content": {MEDIA_TYPE: {}}}, 304: {}})
async def thumbnail(request: Request, serving: Here, image_id: ImageId, side: Annotated[Side, Query()] = Side.MEDIUM) -> Response:
    """Return a small picture of an image, in its shape; `side` is the longer side in pixels."""
    tag = f'"{image_id}-{side.value}"'
    files = await to_thread.run_sync(pictures.files_of, serving.library, image_id)
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag, "Cache-Control": FOREVER})
    data = serving.thumbnails.kept(image_id, side)
    if data is None:
        limiter = _limiter(serving)
        try:
            data = await to_thread.run_sync(serving.thumbnails.make, image_id, side, files, limiter=limiter)
        except Unreadable as error:
            raise _gone(error) from error
    return Response(data, media_type=MEDIA_TYPE, headers={"ETag": tag, "Cache-Control": FOREVER})


@router.get("/original", response_class=Response, responses={200: {"content": {"image/*": {}}}, 304: {}})
def original(request: Request, serving: Here, image_id: ImageId, download: Annotated[bool, Query()] = False) -> Response:
    """Return the file of an image, if it has not changed since it was indexed. `download` saves it."""
    tag = f'"{image_id}"'
    files = pictures.files_of(serving.library, image_id)
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag, "Cache-Control": FOREVER})
    try:
        opened = pictures.open_unchanged(files, serving.library.source)
    except Unreadable as error:
        raise _gone(error) from error
    head = opened.file.read(HEAD_BYTES)
    opened.file.seek(0)
    kind = media_type(head)
    headers = {
        "ETag": tag,
        "Cache-Control": FOREVER,
        "Content-Length": str(opened.size),
        "Content-Disposition": _disposition(opened.path, download or kind == OTHER),
        # Should a browser take the file for a page after all, nothing in it runs.
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return StreamingResponse(_chunks(opened), media_type=kind, headers=headers)


@router.get("/explanation", response_model=Explanation)
def explanation(
    serving: Here,
    image_id: ImageId,
    emotion: Annotated[Word | None, Query()] = None,
    model: Annotated[Word | None, Query()] = None,
) -> Response:
    """Show which parts of an image speak for an emotion; without one, for the most probable emotion."""
    library = serving.with_model(model)
    try:
        opened = pictures.open_unchanged(pictures.files_of(library, image_id), library.source)
    except Unreadable as error:
        raise _gone(error) from error
    opened.file.close()
    with serving.analyses.one():
        path = os.fsdecode(opened.path)
        return AsciiJSON(run_once(library.settings, "explain", _EXPLAIN_SECONDS, path=path, emotion=emotion))


def _limiter(serving: Serving) -> CapacityLimiter:
    """Return what bounds the thumbnails that are made at the same time. It belongs to the event loop, which makes it."""
    if serving.thumbnail_limiter is None:
        serving.thumbnail_limiter = CapacityLimiter(serving.thumbnail_workers)
    return serving.thumbnail_limiter


def _gone(error: Unreadable) -> ProblemError:
    return ProblemError(HTTPStatus.GONE, str(error))


def _chunks(opened: OpenFile) -> Iterator[bytes]:
    """Yield the bytes of an open file, as many as it had when it was opened."""
    left = opened.size
    with opened.file:
        while left > 0 and (chunk := opened.file.read(min(_CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk


def _disposition(path: bytes, is_download: bool) -> str:
    """Return the header that names a file, whatever bytes its name has."""
    name = quote(os.path.basename(path).decode("utf-8", "replace"), safe="")
    return f"{'attachment' if is_download else 'inline'}; filename*=UTF-8''{name}"
