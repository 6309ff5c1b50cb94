"""Teaching: images worth labeling, labels that the model doubts, and teaching itself."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from indexer.labels import service as labels_service
from indexer.plain_data.labels import conflict_as_dict, suggestion_as_dict
from indexer.teaching import service as teaching_service
from web.answers import AsciiJSON
from web.schemas import Body, Doubt, Suggestion, Task, TeachBody
from web.serving import Here

router = APIRouter(tags=["teaching"])

_MAX_LISTED = 1000

Count = Annotated[int, Query(ge=1, le=_MAX_LISTED)]


@router.get("/suggestions", response_model=list[Suggestion])
def suggestions(serving: Here, count: Count = 20) -> Response:
    """List images whose labels would teach the model most."""
    with serving.analyses.one():
        found = teaching_service.suggest(serving.library, count)
    return AsciiJSON([suggestion_as_dict(one) for one in found])


@router.get("/doubts", response_model=list[Doubt])
def doubts(serving: Here, limit: Count = 20) -> Response:
    """List the labels that the model disagrees with most."""
    return AsciiJSON([conflict_as_dict(one) for one in labels_service.list_conflicts(serving.library, limit)])


@router.post("/teach", response_model=Task, status_code=HTTPStatus.ACCEPTED)
def teach(serving: Here, body: TeachBody) -> Response:
    """Teach the model the labels, in the background."""
    return AsciiJSON(serving.tasks.start("teach", name=body.name).as_dict(), HTTPStatus.ACCEPTED)


@router.post("/teach/undo", response_model=Task, status_code=HTTPStatus.ACCEPTED)
def undo_teaching(serving: Here, _body: Body) -> Response:
    """Return to the model before the last teaching, in the background. Labels are kept."""
    return AsciiJSON(serving.tasks.start("undo").as_dict(), HTTPStatus.ACCEPTED)
