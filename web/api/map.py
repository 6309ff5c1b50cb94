"""The map of the library: its points as arrays, the points that a filter finds, and the images of points."""

from __future__ import annotations

import json
import struct
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from indexer.domain.errors import NotIndexed
from indexer.domain.maps import NOT_SHOWN, OTHER_EMOTION
from indexer.mapping import view
from indexer.plain_data.hits import hit_as_dict
from indexer.registry.selection import open_selected
from indexer.system.optional import require
from web.answers import AsciiJSON
from web.api.filters import MapFilters
from web.schemas import Body, FewPointsBody, Map, PointIds, PointImages, PointsBody, Task, Word
from web.serving import Here, Serving

if TYPE_CHECKING:
    from indexer.library import Library
    from indexer.mapping.view import ColoredMap, PointHit

router = APIRouter(prefix="/map", tags=["map"])

_BINARY = "application/octet-stream"
_BYTES: dict[int | str, dict[str, Any]] = {200: {"content": {_BINARY: {}}}}
_ALIGNMENT = 4
_NOT_STORED = {"Cache-Control": "no-store"}

Model = Annotated[Word | None, Query(description="An installed model, by name.")]
Hidden = Annotated[bool, Query(description="Show hidden images.")]


@router.get("", response_model=Map)
def show(serving: Here, model: Model = None, hidden: Hidden = False) -> Response:
    """Tell whether there is a map, and how many faces are not on it yet."""
    library = serving.with_model(model)
    colored = serving.maps.get(library, hidden)
    if colored is None:
        with open_selected(library) as (_, stored):
            facts = {"model": stored.card.name, "version": None, "points": 0, "fitted": 0, "absent": 0, "made_at": None}
        return AsciiJSON(facts)
    made = colored.made
    return AsciiJSON(
        {
            "model": made.model,
            "version": made.version,
            "points": len(made),
            "fitted": made.fitted,
            "absent": colored.absent,
            "made_at": made.made_at,
        }
    )


@router.post("", response_model=Task, status_code=HTTPStatus.ACCEPTED)
def make(serving: Here, _body: Body) -> Response:
    """Make the map of the model in use, in the background. The earlier map stays until the new one is complete."""
    serving.library.require_database()
    require("openTSNE", "openTSNE", "map", "Making a map")
    return AsciiJSON(serving.tasks.start("map").as_dict(), HTTPStatus.ACCEPTED)


@router.get("/points", response_class=Response, responses=_BYTES)
def points(serving: Here, model: Model = None, hidden: Hidden = False) -> Response:
    """Return all points: a JSON header, and arrays in little-endian order.

    The first four bytes are the length of the header, which ends at a multiple of four. After it follow the x of all N points,
    their y (unsigned 16-bit numbers, y upwards), and their emotions (unsigned 8-bit codes).
    """
    colored = _colored(serving, serving.with_model(model), hidden)
    return Response(_packed(colored), media_type=_BINARY, headers=_NOT_STORED)


@router.get("/matches", response_class=Response, responses=_BYTES)
def matches(serving: Here, filters: Annotated[MapFilters, Query()]) -> Response:
    """Return which points the filters find, as bits: the first point is the lowest bit of the first byte."""
    library = serving.with_model(filters.model)
    colored = _colored(serving, library, filters.hidden, filters.version)
    found = view.matches(library, colored, filters.request(serving))
    return Response(found.tobytes(), media_type=_BINARY, headers=_NOT_STORED)


@router.post("/images", response_model=PointImages)
def images(serving: Here, body: FewPointsBody, model: Model = None, hidden: Hidden = False) -> Response:
    """Return the images of some points, each by its first file."""
    found = _hits(serving, body, model, hidden)
    return AsciiJSON({"images": [{"point": one.point, "hit": hit_as_dict(one.hit)} for one in found]})


@router.post("/ids", response_model=PointIds)
def ids(serving: Here, body: PointsBody, model: Model = None, hidden: Hidden = False) -> Response:
    """Return the ids of the images of many points."""
    found = _hits(serving, body, model, hidden)
    return AsciiJSON({"image_ids": list(dict.fromkeys(one.hit.image_id for one in found))})


def _hits(serving: Serving, body: FewPointsBody | PointsBody, model: str | None, hidden: bool) -> list[PointHit]:
    library = serving.with_model(model)
    return view.point_hits(library, _colored(serving, library, hidden, body.version), body.points)


def _colored(serving: Serving, library: Library, hidden: bool, version: str | None = None) -> ColoredMap:
    """Return the map, of a version if it is given. Raises NotIndexed without one, and MapChanged for another version."""
    colored = serving.maps.get(library, hidden)
    if colored is None:
        raise NotIndexed("There is no map yet; make it with: moodex map")
    if version is not None:
        colored.require(version)
    return colored


def _packed(colored: ColoredMap) -> bytes:
    """Return a map as `points` describes it."""
    made = colored.made
    facts = {
        "version": made.version,
        "points": len(made),
        "absent": colored.absent,
        "made_at": made.made_at,
        "emotions": list(colored.emotions),
        "other": OTHER_EMOTION,
        "none": NOT_SHOWN,
    }
    header = json.dumps(facts).encode("ascii")
    header += b" " * (-len(header) % _ALIGNMENT)
    places = made.places.astype("<u2", copy=False)
    return b"".join(
        (struct.pack("<I", len(header)), header, places[:, 0].tobytes(), places[:, 1].tobytes(), colored.codes.tobytes())
    )
