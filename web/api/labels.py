"""Labels: set, removed and undone, for one image or many; and hidden images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from indexer.domain.errors import NotIndexed
from indexer.labels import hide as hide_service
from indexer.labels import service
from indexer.plain_data.labels import changes_as_dict, label_as_dict
from web.answers import AsciiJSON, from_cursor, to_cursor
from web.schemas import Changed, HideBody, LabelBody, Labels, UndoBody
from web.serving import Here

if TYPE_CHECKING:
    from indexer.domain.reports import LabelsChanged

router = APIRouter(tags=["labels"])

_MAX_PAGE = 1000


@router.get("/labels", response_model=Labels)
def list_labels(
    serving: Here,
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = 100,
    cursor: Annotated[str | None, Query(max_length=4096)] = None,
) -> Response:
    """List the labels, by path; those whose images have no file come last."""
    place = from_cursor(cursor, i=str)
    labels = service.list_labels(serving.library)
    ids = [label.image_id for label in labels]
    if place is not None and place["i"] not in ids:
        raise NotIndexed("The label at which this page begins was removed; reload the list.")
    first = 0 if place is None else ids.index(place["i"]) + 1
    page = labels[first : first + limit]
    following = to_cursor(i=page[-1].image_id) if first + limit < len(labels) else None
    return AsciiJSON({"labels": [label_as_dict(label) for label in page], "next": following, "total": len(labels)})


@router.put("/labels", response_model=Changed)
def label(serving: Here, body: LabelBody) -> Response:
    """Label images with an emotion, or remove their labels: all or none."""
    emotions = dict.fromkeys(body.image_ids, body.emotion)
    relabeled = service.label_images(serving.library, emotions, body.new)
    undo = serving.changes.add(relabeled.before) if relabeled.changed.changed else None
    return _changed(relabeled.changed, undo)


@router.post("/labels/undo", response_model=Changed)
def undo(serving: Here, body: UndoBody) -> Response:
    """Bring back the labels from before a change, or from before the last one."""
    before = serving.changes.pop(body.undo)
    if before is None:
        raise NotIndexed("There is no change of labels to undo.")
    return _changed(service.label_images(serving.library, before, new=True).changed, None)


@router.put("/hidden", response_model=Changed)
def hide(serving: Here, body: HideBody) -> Response:
    """Keep images out of searches and exports, or show them again."""
    return _changed(hide_service.hide_images(serving.library, body.image_ids, body.hidden), None)


def _changed(changed: LabelsChanged, undo: str | None) -> Response:
    return AsciiJSON({**changes_as_dict(changed), "undo": undo})
