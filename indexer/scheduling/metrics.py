"""What the scheduler tells Prometheus, as a text file for node_exporter's textfile collector.

The format is Prometheus's text exposition format 0.0.4: few metrics, written by hand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.errors import MoodexError, UsageError
from indexer.system.atomic import write_file
from indexer.system.events import log_event

if TYPE_CHECKING:
    from indexer.domain.jobs import Job
    from indexer.domain.runs import RunTotals

_EVERY = 60.0
_OUTCOMES = ("done", "failed", "interrupted", "died")


@dataclass(frozen=True, slots=True)
class Metrics:
    """What there is to tell. `last_seconds` is how long the last run took that has ended, None before the first; `waiting` counts
    files that wait to be read; `ages` are seconds since each job succeeded, by name, without those that never did.
    """

    up: bool
    totals: RunTotals
    last_seconds: float | None
    waiting: int
    ages: Mapping[str, float] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)


def ages(jobs: Sequence[Job], now: float) -> dict[str, float]:
    """Seconds since each job succeeded, by name."""
    return {job.name: max(0.0, now - job.last.succeeded_at) for job in jobs if job.last.succeeded_at is not None}


def exposition(metrics: Metrics) -> str:
    """The metrics as a text file."""
    totals = metrics.totals
    runs = {name: totals.outcomes.get(name, 0) for name in _OUTCOMES}
    last = {} if metrics.last_seconds is None else {"": metrics.last_seconds}
    parts = [
        _metric("up", "gauge", "Whether the scheduler is running.", "", {"": int(metrics.up)}),
        _metric("images_indexed_total", "counter", "Images analyzed by all recorded runs.", "", {"": totals.indexed}),
        _metric("failures_total", "counter", "Files that failed, counted in every recorded run.", "", {"": totals.failed}),
        _metric("runs_total", "counter", "Recorded runs by how they ended.", "outcome", runs),
        _metric("last_run_duration_seconds", "gauge", "How long the last run took.", "", last),
        _metric("files_waiting", "gauge", "Files that wait to be looked at.", "", {"": metrics.waiting}),
        _metric("job_index_age_seconds", "gauge", "Time since a job last succeeded.", "job", metrics.ages),
        _metric("job_failures_in_a_row", "gauge", "Failures of a job since it last succeeded.", "job", metrics.failures),
    ]
    return "".join(parts)


def _metric(name: str, kind: str, about: str, label: str, values: Mapping[str, float]) -> str:
    lines = [f"# HELP moodex_{name} {about}", f"# TYPE moodex_{name} {kind}"]
    for value, number in sorted(values.items()):
        where = f'{{{label}="{_escaped(value)}"}}' if label else ""
        lines.append(f"moodex_{name}{where} {number:.17g}")
    return "\n".join(lines) + "\n" if values else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class MetricsFile:
    """Keeps a file of metrics true while it is entered: at the start, each minute, in a thread of its own, and at the end.

    `content` gives the text, told whether the scheduler is up. Without a path, nothing is written. Raises UsageError where its
    folder does not exist.
    """

    def __init__(self, path: Path | None, content: Callable[[bool], str]) -> None:
        if path is not None and not path.absolute().parent.is_dir():
            raise UsageError(f"The folder of --metrics {path} does not exist; make it, or choose another.")
        self._path = path and path.absolute()
        self._content = content
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def __enter__(self) -> MetricsFile:
        if self._path is not None:
            self.write()
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._path is not None:
            self._thread.join()
            self.write()

    def write(self) -> None:
        """Write the file now; where that fails, it is told of."""
        if self._path is None:
            return
        try:
            with self._lock:
                write_file(self._path, self._content(not self._over.is_set()).encode())
        except (OSError, MoodexError) as error:
            log_event("warning", "metrics", f"The metrics file {self._path} cannot be written: {error}")

    def _run(self) -> None:
        while not self._over.wait(_EVERY):
            self.write()
