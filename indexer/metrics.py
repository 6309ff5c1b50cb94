"""What the scheduler tells Prometheus, as a text file for node_exporter's textfile collector.

The format is Prometheus's text exposition format 0.0.4: few metrics, written by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.jobs import Job
    from indexer.ports import RunTotals

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
        _metric("images_indexed_total", "counter", "Pictures looked at by all recorded runs.", "", {"": totals.indexed}),
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
