"""What is due: a job's next time from its schedule and how it last went. Pure; the time is whatever the caller says it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import tzinfo
from typing import TYPE_CHECKING

from indexer.domain.jobs import AWAY, WAITING, Job, JobStatus
from indexer.domain.runs import DIED, DONE, FAILED, INTERRUPTED
from indexer.scheduling.cron import cron

if TYPE_CHECKING:
    from indexer.domain.reports import Summary

_FIRST_RETRY_SECONDS, _MAX_RETRY_SECONDS = 60.0, 3600.0
_BUSY_RETRY_SECONDS = 15.0
"""Seconds after which a job that found another writer at work tries again."""


def next_due(job: Job, now: float, zone: tzinfo) -> float | None:
    """When a job is due next; a time that is past where it is due now, however many times it has missed.

    An interval counts from the beginning of the last run, and begins at once; so does watching. None where only a change makes it
    due.
    """
    last, when = job.last, job.when
    # A clock that was set back must not put a job off.
    times: list[float | None] = [now if last.retry_at is not None and (last.ended_at or 0) > now else last.retry_at]
    since = min(job.added_at if last.begun_at is None else last.begun_at, now)
    if when.cron is not None:
        times.append(cron(when.cron, zone)(since))
    if when.every is not None and last.begun_at is not None:
        times.append(since + when.every)
    if (when.every is not None or when.watch) and last.begun_at is None:
        times.append(since)
    return min((time for time in times if time is not None), default=None)


def due(jobs: Sequence[Job], now: float, zone: tzinfo) -> list[Job]:
    """The jobs that are due, the one that has waited longest first."""
    waiting = [(time, job.name, job) for job in jobs if (time := next_due(job, now, zone)) is not None and time <= now]
    return [job for _, _, job in sorted(waiting, key=lambda one: one[:2])]


def back_off(failures: int) -> float:
    """Seconds to wait after so many failures in a row: a minute, then twice as long each time, an hour at most."""
    return min(_FIRST_RETRY_SECONDS * 2.0 ** min(max(failures, 1) - 1, 30), _MAX_RETRY_SECONDS)


def after_run(last: JobStatus, summary: Summary, now: float) -> JobStatus:
    """How a job stands after a run that came to an end."""
    if summary.away:
        return after_failure(last, f"{', '.join(map(repr, summary.away))}: not there, or not mounted", now, AWAY)
    reason = f"{summary.failed} files failed" if summary.failed else None
    return JobStatus(last.begun_at, _end(last, now), now, None, DONE, reason)


def after_failure(last: JobStatus, reason: str, now: float, outcome: str = FAILED) -> JobStatus:
    """How a job stands after a run that failed: it is tried again, ever later."""
    failures = last.failures + 1
    return replace(
        last, ended_at=_end(last, now), outcome=outcome, reason=reason, failures=failures, retry_at=now + back_off(failures)
    )


def after_busy(last: JobStatus, reason: str, now: float) -> JobStatus:
    """How a job stands that found another writer at work: it waits for its turn."""
    return replace(last, ended_at=_end(last, now), outcome=WAITING, reason=reason, retry_at=now + _BUSY_RETRY_SECONDS)


def after_stopping(last: JobStatus, reason: str, now: float) -> JobStatus:
    """How a job stands that was stopped: it goes on as soon as it may."""
    return replace(last, ended_at=_end(last, now), outcome=INTERRUPTED, reason=reason, retry_at=now)


def after_dying(last: JobStatus, now: float) -> JobStatus:
    """How a job stands whose process died: the same."""
    return replace(last, ended_at=_end(last, now), outcome=DIED, reason="its process died", retry_at=now)


def _end(last: JobStatus, now: float) -> float:
    """When a run has ended that ends now: not before it began, should the clock have been set back."""
    return now if last.begun_at is None else max(now, last.begun_at)
