"""Index runs: start one, follow it, and read the history. Roots are named by id: a client gives no path."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from indexer.domain.errors import NotIndexed, UsageError
from indexer.ingest import library_roots
from indexer.plain_data.library import job_as_dict, root_as_dict
from indexer.plain_data.runs import failure_as_dict, run_as_dict
from indexer.scheduling import service as scheduling_service
from indexer.search.folders import path_id
from web.answers import MAX_CURSOR_LETTERS, AsciiJSON, from_cursor, to_cursor
from web.schemas import Body, Failures, Job, Root, RunBody, Runs, Task
from web.serving import Here
from web.tasks import Task as RunningTask

router = APIRouter(tags=["runs"])

_MAX_PAGE = 200
_MAX_RUNS = 10_000
"""Runs of the history that can be paged through."""

_WATCH_SECONDS = 0.2

Limit = Annotated[int, Query(ge=1, le=_MAX_PAGE)]
Cursor = Annotated[str | None, Query(max_length=MAX_CURSOR_LETTERS)]


@router.get("/roots", response_model=list[Root])
def list_roots(serving: Here) -> Response:
    """List the indexed folders and files."""
    roots = library_roots.list_roots(serving.library)
    return AsciiJSON([{"id": path_id(root.path), **root_as_dict(root, exists)} for root, exists in roots])


@router.post("/runs", response_model=Task, status_code=HTTPStatus.ACCEPTED)
def start_run(serving: Here, body: RunBody) -> Response:
    """Index roots again, in the background. A folder becomes a root with `moodex index FOLDER`."""
    known = {path_id(root.path): root.path for root, _ in library_roots.list_roots(serving.library)}
    if not known:
        raise NotIndexed("Nothing is indexed yet; run: moodex index FOLDER")
    wanted = list(known) if body.roots is None else body.roots
    unknown = [root for root in wanted if root not in known]
    if unknown:
        raise NotIndexed(f"There is no root with the id {unknown[0]!r}; reload the list of roots.")
    roots = [os.fsdecode(known[root]) for root in wanted]
    task = serving.tasks.start("index", roots=roots, force=body.force, verify=body.verify)
    return AsciiJSON(task.as_dict(), HTTPStatus.ACCEPTED)


@router.get("/runs", response_model=Runs)
def list_runs(serving: Here, limit: Limit = 20, cursor: Cursor = None) -> Response:
    """List the runs, newest first, and tell whether any process writes to the library now."""
    place = from_cursor(cursor, r=int)
    wanted = limit + 1 if place is None else _MAX_RUNS
    runs = [run for run in scheduling_service.list_runs(serving.library, wanted) if place is None or run.id < place["r"]]
    running = serving.tasks.running()
    facts = {
        "runs": [run_as_dict(run) for run in runs[:limit]],
        "next": to_cursor(r=runs[limit - 1].id) if len(runs) > limit else None,
        "writer": serving.library.database.exists() and bool(serving.library.database.current_writers()),
        "task": None if running is None else running.id,
    }
    return AsciiJSON(facts)


@router.get("/failures", response_model=Failures)
def list_failures(serving: Here, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """List the files that failed, by path, with reasons."""
    place = from_cursor(cursor, p=bytes)
    library = serving.library
    library.require_database()
    with library.database.open(reading=True) as store:
        found = store.failures(limit + 1, None if place is None else place["p"])
    facts = [failure_as_dict(path, failure) for path, failure in found[:limit]]
    following = to_cursor(p=found[limit - 1][0]) if len(found) > limit else None
    return AsciiJSON({"failures": facts, "next": following})


@router.get("/jobs", response_model=list[Job])
def list_jobs(serving: Here) -> Response:
    """List the scheduled jobs, their next run and their last outcome."""
    return AsciiJSON([job_as_dict(job) for job in scheduling_service.list_jobs(serving.library)])


@router.get("/tasks", response_model=list[Task])
def list_tasks(serving: Here) -> Response:
    """List the tasks of this server, newest first."""
    return AsciiJSON([task.as_dict() for task in serving.tasks.list()])


def _task(serving: Here, task_id: str) -> RunningTask:
    return serving.tasks.find(task_id)


Found = Annotated[RunningTask, Depends(_task)]
"""The task of the address. It is found before an answer begins, which could not become an error any more."""


@router.get("/tasks/{task_id}", response_model=Task)
def show_task(task: Found) -> Response:
    """Return a task and its progress."""
    return AsciiJSON(task.as_dict())


@router.get("/tasks/{task_id}/events", response_class=EventSourceResponse)
async def watch_task(serving: Here, task: Found) -> AsyncIterator[ServerSentEvent]:
    """Send a task whenever it changes, as events named `task`, until it ends."""
    sent = -1
    while not serving.is_ending.is_set():
        has_ended, version = task.has_ended, task.version
        if version != sent:
            sent = version
            yield ServerSentEvent(data=task.as_dict(), event="task")
        if has_ended:
            return
        await asyncio.sleep(_WATCH_SECONDS)


@router.post("/tasks/{task_id}/stop", response_model=Task)
def stop_task(serving: Here, task: Found, _body: Body) -> Response:
    """Ask a task to stop at its next safe point. What it committed stays."""
    if task.has_ended:
        raise UsageError("The task has ended already.")
    serving.tasks.stop(task)
    return AsciiJSON(task.as_dict())
