"""Selections of images: kept for an hour, downloaded as a zip, as paths or as a table, or linked to in a folder."""

from __future__ import annotations

import io
import json
import os
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from indexer.domain.errors import ImageError, NotIndexed
from indexer.plain_data.hits import hit_as_dict, hit_rows
from indexer.search import pictures
from indexer.search.archive import archive
from indexer.search.collect import collect
from indexer.system.text import write_table
from web.answers import AsciiJSON
from web.schemas import CollectBody, Collected, Collection, LinkBody
from web.serving import COLLECTION_FOLDER, Here, Serving

if TYPE_CHECKING:
    from indexer.domain.queries import Hit

router = APIRouter(prefix="/collections", tags=["collections"])

_TEXT = "text/plain; charset=utf-8"


@router.post("", response_model=Collection, status_code=HTTPStatus.CREATED)
def create(serving: Here, body: CollectBody) -> Response:
    """Keep a selection, for downloads by plain links."""
    hits = pictures.main_hits(serving.library, body.image_ids)
    facts = {"id": serving.collections.add(hits), "images": len(hits), "bytes": sum(_size(serving, hit.path) for hit in hits)}
    return AsciiJSON(facts, HTTPStatus.CREATED)


@router.get("/{collection}/zip", response_class=Response, responses={200: {"content": {"application/zip": {}}}})
def download(serving: Here, collection: str) -> Response:
    """Return the files as a zip archive, with names kept apart."""
    hits = _hits(serving, collection)
    return StreamingResponse(archive(serving.library, hits), media_type="application/zip", headers=_saved_as("moodex.zip"))


@router.get("/{collection}/paths", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def paths(serving: Here, collection: str) -> Response:
    """Return the paths, one on each line."""
    lines = b"".join(hit.path + b"\n" for hit in _hits(serving, collection))
    return Response(lines, media_type=_TEXT, headers=_saved_as("moodex.txt"))


@router.get("/{collection}/csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
def as_csv(serving: Here, collection: str) -> Response:
    """Return the table of `moodex search --format csv`."""
    content = io.BytesIO()
    text = io.TextIOWrapper(content, encoding="utf-8", newline="")
    write_table(hit_rows(_hits(serving, collection)), text)
    text.flush()
    return Response(content.getvalue(), media_type="text/csv; charset=utf-8", headers=_saved_as("moodex.csv"))


@router.get("/{collection}/json", response_class=Response, responses={200: {"content": {"application/json": {}}}})
def as_json(serving: Here, collection: str) -> Response:
    """Return the array of `moodex search --format json`."""
    content = json.dumps([hit_as_dict(hit) for hit in _hits(serving, collection)], indent=2)
    return Response(content, media_type="application/json", headers=_saved_as("moodex.json"))


@router.post("/{collection}/links", response_model=Collected)
def link(serving: Here, collection: str, body: LinkBody) -> Response:
    """Link to the files in a folder of the library's folder `collections`. Nothing there is replaced."""
    folder = serving.library.settings.home / COLLECTION_FOLDER / body.name
    report = collect(_hits(serving, collection), os.fsencode(folder), serving.library.source, link=True)
    return AsciiJSON({"folder": report.folder, "done": report.done, "present": report.present, "missing": list(report.missing)})


def _hits(serving: Serving, collection: str) -> list[Hit]:
    hits = serving.collections.get(collection)
    if hits is None:
        raise NotIndexed("This selection is not kept any more; select the images again.")
    return hits


def _size(serving: Serving, path: bytes) -> int:
    try:
        return serving.library.source.stamp(path).size
    except (OSError, ImageError):
        return 0


def _saved_as(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
