"""Searches: the grid of all images, search by emotion and by similarity, uploaded images, and counts by emotion."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, File, Query, UploadFile
from starlette.responses import Response

from indexer.domain.emotions import PARENTS
from indexer.domain.errors import NotIndexed, UsageError
from indexer.imaging.thumbnail import isolated_thumbnail
from indexer.plain_data.hits import hit_as_dict
from indexer.registry.selection import open_selected
from indexer.search import counts, pictures, service, uploads
from web.answers import AsciiJSON, from_cursor, to_cursor
from web.api.filters import MAX_OFFSET, Filters, SearchFilters
from web.limits import MAX_UPLOAD_BYTES
from web.memory import Upload
from web.schemas import CountedPage, Emotions, ImageId, QueryImage, SearchAnswer, Word
from web.serving import Here, Serving, upload_key
from web.thumbnails import MEDIA_TYPE

if TYPE_CHECKING:
    from indexer.domain.queries import SearchRequest, SearchResult, Total
    from indexer.library import Library
    from indexer.search.uploads import SentImage

router = APIRouter(tags=["search"])

_MAX_COUNTED, _MAX_COUNTED_EACH = 10_000, 1000
_THUMBNAIL_SIDE = 256
Picture = Annotated[UploadFile, File(description="An image file.")]


@router.get("/images", response_model=CountedPage)
def newest_images(serving: Here, filters: Annotated[Filters, Query()]) -> Response:
    """List images, the latest entry first."""
    return AsciiJSON(newest_page(serving, filters))


def newest_page(serving: Serving, filters: Filters) -> dict[str, Any]:
    """Return a page of images, the latest entry first, as `CountedPage` describes it."""
    place = from_cursor(filters.cursor, f=int)
    before = None if place is None else place["f"]
    request = filters.request(serving, offset=filters.at)
    found = pictures.newest(serving.with_model(filters.model), request, before, _MAX_COUNTED)
    following = None if found.last is None else to_cursor(f=found.last)
    return {"hits": [hit_as_dict(hit) for hit in found.hits], "next": following, **_counted(found.total)}


@router.get("/search", response_model=SearchAnswer)
def search(serving: Here, filters: Annotated[SearchFilters, Query()]) -> Response:
    """Search by emotion, or by similarity to an image, a text or both: best first."""
    library = serving.with_model(filters.model)
    if filters.like is not None and filters.query is not None:
        raise UsageError("Give either like or query, not both.")
    if filters.query is None:
        return _answer(serving, library, filters)
    return _answer(serving, library, filters, _upload(serving, _similar_library(serving, filters), filters.query).image)


@router.post("/search", response_model=SearchAnswer)
def search_with_picture(serving: Here, image: Picture, filters: Annotated[SearchFilters, Query()]) -> Response:
    """Search by similarity to an image that is sent along. `query` in the answer stands for it in further searches."""
    if filters.has_image:
        raise UsageError("The image is sent along; leave out like and query.")
    library = serving.with_model(filters.model)
    sent = _analyze(serving, _similar_library(serving, filters), image)
    by_query = filters.model_copy(update={"query": sent.image_id})
    return _answer(serving, library, by_query, sent, query=sent.image_id)


@router.post("/queries", response_model=QueryImage)
def analyze_picture(serving: Here, image: Picture, model: Annotated[Word | None, Query()] = None) -> Response:
    """Analyze an image that is sent along, for searches with it. The library does not keep it."""
    return _query_answer(_analyze(serving, serving.with_model(model), image))


@router.get("/queries/{query}", response_model=QueryImage)
def show_query(serving: Here, query: ImageId, model: Annotated[Word | None, Query()] = None) -> Response:
    """Return what the model sees in an image that was sent."""
    return _query_answer(_upload(serving, serving.with_model(model), query).image)


@router.get("/queries/{query}/thumbnail", response_class=Response, responses={200: {"content": {MEDIA_TYPE: {}}}})
def query_thumbnail(serving: Here, query: ImageId, model: Annotated[Word | None, Query()] = None) -> Response:
    """Return a small picture of an image that was sent."""
    thumbnail = _upload(serving, serving.with_model(model), query).thumbnail
    return Response(thumbnail, media_type=MEDIA_TYPE, headers={"Cache-Control": "private, max-age=3600"})


@router.get("/emotions", response_model=Emotions)
def emotions(serving: Here, filters: Annotated[Filters, Query()]) -> Response:
    """Count the images of each emotion under the other parameters; `emotion`, `limit` and `cursor` do not matter."""
    totals = counts.count_emotions(serving.with_model(filters.model), filters.request(serving), _MAX_COUNTED_EACH)
    facts = [
        {
            "emotion": one.emotion,
            "count": one.total.number,
            "exact": one.total.exact,
            "parent": PARENTS.get(one.emotion),
            "own": one.is_own,
        }
        for one in totals.emotions
    ]
    about = {"model": totals.model, "reads_text": totals.reads_text, "has_tags": totals.has_tags}
    return AsciiJSON({**about, "emotions": facts})


def _similar_library(serving: Serving, filters: SearchFilters) -> Library:
    """Return the library with the model in use by which images resemble each other."""
    return serving.with_model(filters.similar_by or filters.model)


def _answer(serving: Serving, library: Library, filters: SearchFilters, sent: SentImage | None = None, **more: str) -> Response:
    """Run a search, and answer with its page."""
    embedding: dict[str, Any] = {} if sent is None else {"embedding": sent.embedding}
    request = filters.request(serving, dedupe=filters.dedupe, **filters.place(), **filters.liked(), **embedding)
    if filters.dedupe or filters.text is not None:
        # To compare all hits with each other, or to encode a text, takes as long as an analysis.
        with serving.analyses.one():
            result = _counted_at_start(library, filters, request)
    else:
        result = _counted_at_start(library, filters, request)
    facts = {
        "hits": [hit_as_dict(hit) for hit in result.hits],
        "next": _next(request, len(result.hits), None if result.last is None else result.last._asdict()),
        **_counted(result.total),
    }
    return AsciiJSON(facts | more)


def _counted_at_start(library: Library, filters: SearchFilters, request: SearchRequest) -> SearchResult:
    """Run a search; count its hits with the first page, because later ones have the same number."""
    if filters.cursor is None and not filters.at:
        return service.search_and_count(library, request, _MAX_COUNTED)
    return service.search_page_of(library, request)


def _counted(total: Total | None) -> dict[str, Any]:
    return {"total": None if total is None else total.number, "exact": total is not None and total.exact}


def _next(request: SearchRequest, shown: int, last: dict[str, Any] | None) -> str | None:
    """Return the cursor of the next page; None after a page that is not full."""
    if shown < request.limit:
        return None
    if last is not None:
        return to_cursor(s=last["score"], d=last["digest"], f=last["file_id"])
    offset = request.offset + shown
    return to_cursor(o=offset) if offset <= MAX_OFFSET else None


def _analyze(serving: Serving, library: Library, image: UploadFile) -> SentImage:
    """Analyze an uploaded image, and keep what searches need of it."""
    data = image.file.read(MAX_UPLOAD_BYTES + 1)
    with serving.analyses.one():
        thumbnail, _ = isolated_thumbnail(data, _THUMBNAIL_SIDE, serving.decoders)
        sent = uploads.analyze(library, data)
    serving.uploads.put(upload_key(sent.image_id, sent.model_key), Upload(sent, thumbnail))
    return sent


def _upload(serving: Serving, library: Library, query: str) -> Upload:
    """Return an uploaded image by its id. Raises NotIndexed if the server does not keep it any more."""
    with open_selected(library) as (_, model):
        key = model.card.key
    upload = serving.uploads.get(upload_key(query, key))
    if upload is None:
        raise NotIndexed("The server does not keep this image any more, or another model analyzed it; send it again.")
    return upload


def _query_answer(sent: SentImage) -> Response:
    facts = {
        "query": sent.image_id,
        "image_id": sent.image_id,
        "indexed": sent.indexed,
        "faces": [hit_as_dict(hit) for hit in sent.hits],
    }
    return AsciiJSON(facts, HTTPStatus.OK)
