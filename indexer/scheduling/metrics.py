"""The metrics of the scheduler, as a text file for node_exporter's textfile collector.

The format is Prometheus's text exposition format 0.0.4. It is simple enough to write without a library.
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

_WRITE_INTERVAL_SECONDS = 60.0
_OUTCOMES = ("done", "failed", "interrupted", "died")


@dataclass(frozen=True, slots=True)
class Metrics:
    """The measurements that the file contains.

    - `up`: whether the scheduler is running; None leaves that out.
    - `last_run_seconds`: duration of the last run that ended; None before the first.
    - `pending_files`: number of files that no run has analyzed yet.
    - `success_ages`: seconds since the last success of each job, by name; jobs that never succeeded are absent.
    - `failures`: number of failures since the last success of each job, by name.
    """

    up: bool | None
    totals: RunTotals
    last_run_seconds: float | None
    pending_files: int
    success_ages: Mapping[str, float] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)


def success_ages(jobs: Sequence[Job], now: float) -> dict[str, float]:
    """Return the seconds since the last success of each job, by name, without jobs that never succeeded."""
    return {job.name: max(0.0, now - job.last.succeeded_at) for job in jobs if job.last.succeeded_at is not None}


def exposition(metrics: Metrics) -> str:
    """Return the text of the file."""
    totals = metrics.totals
    runs = {name: totals.outcomes.get(name, 0) for name in _OUTCOMES}
    last = {} if metrics.last_run_seconds is None else {"": metrics.last_run_seconds}
    parts = [
        _metric("up", "gauge", "Whether the scheduler is running.", "", {} if metrics.up is None else {"": int(metrics.up)}),
        _metric("images_indexed_total", "counter", "Images analyzed by all recorded runs.", "", {"": totals.indexed}),
        _metric("failures_total", "counter", "Files that failed, counted in every recorded run.", "", {"": totals.failed}),
        _metric("runs_total", "counter", "Recorded runs by outcome.", "outcome", runs),
        _metric("last_run_duration_seconds", "gauge", "Duration of the last run that ended.", "", last),
        _metric("files_waiting", "gauge", "Files that wait to be analyzed.", "", {"": metrics.pending_files}),
        _metric("job_index_age_seconds", "gauge", "Time since a job last succeeded.", "job", metrics.success_ages),
        _metric("job_failures_in_a_row", "gauge", "Failures of a job since it last succeeded.", "job", metrics.failures),
    ]
    return "".join(parts)


def _metric(name: str, kind: str, about: str, label: str, values: Mapping[str, float]) -> str:
    lines = [f"# HELP moodex_{name} {about}", f"# TYPE moodex_{name} {kind}"]
    for value, number in sorted(values.items()):
        labels = f'{{{label}="{_escaped(value)}"}}' if label else ""
        lines.append(f"moodex_{name}{labels} {number:.17g}")
    return "\n".join(lines) + "\n" if values else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class MetricsFile:
    """A file of metrics that is kept up to date inside a `with` block.

    It is written at the start, every minute in a separate thread, and at the end. `content` returns its text, given whether the
    scheduler is up. Without a path, nothing is written. Raises UsageError if the folder of the file does not exist.
    """

    def __init__(self, path: Path | None, content: Callable[[bool], str]) -> None:
        if path is not None and not path.absolute().parent.is_dir():
            raise UsageError(f"The folder of --metrics {path} does not exist. Create it, or choose another one.")
        self._path = path and path.absolute()
        self._content = content
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def __enter__(self) -> MetricsFile:
        if self._path is not None:
            self.write()
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._path is not None:
            self._thread.join()
            self.write()

    def write(self) -> None:
        """Write the file now; if that fails, log a warning."""
        if self._path is None:
            return
        try:
            with self._lock:
                write_file(self._path, self._content(not self._ended.is_set()).encode())
        except (OSError, MoodexError) as error:
            log_event("warning", "metrics", f"The metrics file {self._path} cannot be written: {error}")

    def _run(self) -> None:
        while not self._ended.wait(_WRITE_INTERVAL_SECONDS):
            self.write()
