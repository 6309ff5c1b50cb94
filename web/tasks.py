"""Long work on the library, each in a process of its own: index runs, teaching, checks, and maps."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.domain.errors import NotIndexed
from web.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from indexer.settings import Settings

_ROOT = Path(__file__).resolve().parents[1]
_MAX_KEPT = 50
_MAX_WARNINGS = 100
_STOP_SECONDS = 30.0
"""Time for a process to reach its next safe point before it is killed. What it committed stays."""


class Task:
    """One task and its progress. Threads may read it at any time."""

    def __init__(self, kind: str) -> None:
        self.id = secrets.token_hex(8)
        self.version = 0
        """Grows with every change."""

        self._facts: dict[str, Any] = {
            "id": self.id,
            "kind": kind,
            "state": "running",
            "started_at": time.time(),
            "ended_at": None,
            "found": 0,
            "done": 0,
            "failed": 0,
            "total": None,
            "warnings": [],
            "result": None,
            "error": None,
        }
        self._lock = threading.Lock()

    @property
    def kind(self) -> str:
        """The kind of work."""
        return str(self._facts["kind"])

    @property
    def has_ended(self) -> bool:
        """Whether the work has ended, in whatever way."""
        return self._facts["ended_at"] is not None

    def as_dict(self) -> dict[str, Any]:
        """Return the task as JSON-compatible data."""
        with self._lock:
            return {**self._facts, "warnings": list(self._facts["warnings"])}

    def receive(self, event: dict[str, Any]) -> None:
        """Take in an event of the process, see `web.worker`."""
        with self._lock:
            if "warning" in event:
                del self._facts["warnings"][_MAX_WARNINGS - 1 :]
                self._facts["warnings"].append(event["warning"])
            self._facts |= {
                name: event[name] for name in ("found", "done", "failed", "total", "result", "error") if name in event
            }
            if "state" in event:
                self._facts |= {"state": event["state"], "ended_at": time.time()}
            self.version += 1


class Tasks:
    """The tasks of this server, one at a time: a library has one writer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tasks: OrderedDict[str, Task] = OrderedDict()
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.RLock()

    def start(self, kind: str, **options: Any) -> Task:
        """Start a task; `options` are those of `web.worker` for its kind. Raises ProblemError while another one runs."""
        task = Task(kind)
        with self._lock:
            if self.running() is not None:
                raise ProblemError(HTTPStatus.CONFLICT, "A task is running already; wait for it, or stop it.", 5)
            process = _started(self._settings, kind, options)
            self._process = process
            self._tasks[task.id] = task
            while len(self._tasks) > _MAX_KEPT:
                self._tasks.popitem(last=False)
        threading.Thread(target=_follow, args=(process, task), name=f"task {task.id}", daemon=True).start()
        return task

    def running(self) -> Task | None:
        """Return the task that runs now, if any."""
        with self._lock:
            latest = next(reversed(self._tasks.values()), None)
        return None if latest is None or latest.has_ended else latest

    def list(self) -> Sequence[Task]:
        """Return the latest tasks, newest first."""
        with self._lock:
            return list(reversed(self._tasks.values()))

    def find(self, task_id: str) -> Task:
        """Return a task by its id. Raises NotIndexed."""
        task = self._tasks.get(task_id)
        if task is None:
            raise NotIndexed("This server has no task with this id.")
        return task

    def latest(self, kind: str) -> Task | None:
        """Return the latest task of a kind that is done, if any."""
        return next((task for task in self.list() if task.kind == kind and task.as_dict()["state"] == "done"), None)

    def stop(self, task: Task) -> None:
        """Ask a task to end at its next safe point. What is committed stays."""
        if task is self.running() and self._process is not None:
            self._process.terminate()

    def end(self) -> None:
        """Stop the running task, and wait for its end."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_once(settings: Settings, kind: str, seconds: float, **options: Any) -> dict[str, Any]:
    """Run a short task that writes nothing, and return its result.

    Raises ProblemError if it fails or takes longer than some seconds.
    """
    process = _started(settings, kind, options)
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    task = Task(kind)
    try:
        _follow(process, task)
    finally:
        timer.cancel()
    facts = task.as_dict()
    if facts["state"] != "done":
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, facts["error"])
    return dict(facts["result"])


def _started(settings: Settings, kind: str, options: dict[str, Any]) -> subprocess.Popen[str]:
    """Start the process of a task, and send it its order. Its input stays open: at its end, the process stops."""
    search_path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    # -P: Python must not import modules from the current folder. A session of its own: Ctrl-C reaches the server alone.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "web.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": search_path},
        text=True,
        encoding="ascii",
        start_new_session=True,
    )
    order = {"kind": kind, "settings": {**asdict(settings), "home": str(settings.home)}, **options}
    with suppress(OSError):  # it ended at once: `_follow` reports that
        _pipe(process, "stdin").write(json.dumps(order) + "\n")
        _pipe(process, "stdin").flush()
    return process


def _follow(process: subprocess.Popen[str], task: Task) -> None:
    """Take in the events of a process until it ends."""
    for line in _pipe(process, "stdout"):
        with suppress(ValueError):
            task.receive(json.loads(line))
    code = process.wait()
    for name in ("stdin", "stdout"):
        with suppress(OSError):
            _pipe(process, name).close()
    if task.has_ended:
        return
    if code == -signal.SIGTERM:  # it had not begun
        task.receive({"state": "interrupted", "error": "Stopped before it began; nothing was changed."})
    else:
        task.receive(
            {"state": "failed", "error": f"Its process ended unexpectedly, with code {code}. Committed results are kept."}
        )


def _pipe(process: subprocess.Popen[str], name: str) -> Any:
    return getattr(process, name)
