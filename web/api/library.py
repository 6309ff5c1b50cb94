"""The library as a whole: folders, models, status and checks."""

from __future__ import annotations

import os
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from indexer.maintenance import status as status_service
from indexer.plain_data.library import model_as_dict
from indexer.plain_data.runs import status_as_dict
from indexer.registry import service as registry_service
from web.answers import AsciiJSON
from web.schemas import Body, Doctor, Folders, Model, PathId, Status, Task
from web.serving import Here

if TYPE_CHECKING:
    from indexer.search.folders import FolderNode, FolderTree

router = APIRouter(tags=["library"])

_SHOWN_FAILURES = 5


@router.get("/folders", response_model=Folders)
def folders(serving: Here, parent: Annotated[PathId | None, Query()] = None) -> Response:
    """List the folders directly in a folder; without one, the roots."""
    tree = serving.folders()
    if parent is None:
        return AsciiJSON({"path": [], "folders": [_folder(tree, tree.node(path)) for path in tree.roots]})
    node = tree.find(parent)
    children = [_folder(tree, tree.node(path)) for path in node.children]
    return AsciiJSON({"path": [_folder(tree, one) for one in tree.way_to(node)], "folders": children})


@router.get("/models", response_model=list[Model])
def models(serving: Here) -> Response:
    """List the installed models."""
    return AsciiJSON([model_as_dict(model) for model in registry_service.list_models(serving.library)])


@router.get("/status", response_model=Status)
def status(serving: Here) -> Response:
    """Return counts, models, recent runs and the first failures."""
    return AsciiJSON(status_as_dict(status_service.status(serving.library, _SHOWN_FAILURES)))


@router.post("/doctor", response_model=Task, status_code=HTTPStatus.ACCEPTED)
def check(serving: Here, _body: Body) -> Response:
    """Check the library for damage, in the background. Nothing is repaired."""
    serving.library.require_database()
    return AsciiJSON(serving.tasks.start("check").as_dict(), HTTPStatus.ACCEPTED)


@router.get("/doctor", response_model=Doctor)
def last_check(serving: Here) -> Response:
    """Return the report of the last check by this server."""
    task = serving.tasks.latest("check")
    if task is None:
        return AsciiJSON({"checked_at": None, "report": None})
    facts = task.as_dict()
    return AsciiJSON({"checked_at": facts["ended_at"], "report": facts["result"]})


def _folder(tree: FolderTree, node: FolderNode) -> dict[str, Any]:
    return {
        "id": node.id,
        "name": os.fsdecode(os.path.basename(node.path) or node.path),
        "path": os.fsdecode(node.path),
        "images": node.files,
        "folders": len(node.children),
        "root": node.path in tree.roots,
    }
