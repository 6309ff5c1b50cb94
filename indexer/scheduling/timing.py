"""Due times of jobs, and the status of a job after a run. Pure functions: the caller passes the time.

Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import tzinfo
from typing import TYPE_CHECKING

from indexer.domain.jobs import AWAY, WAITING, Job, JobStatus
from indexer.domain.runs import DIED, DONE, FAILED, INTERRUPTED
from indexer.scheduling.cron import parse_cron

if TYPE_CHECKING:
    from indexer.domain.reports import Summary

_FIRST_RETRY_SECONDS, _MAX_RETRY_SECONDS = 60.0, 3600.0
_BUSY_RETRY_SECONDS = 15.0
"""Delay of the retry if another process was writing."""


def next_due(job: Job, now: float, zone: tzinfo) -> float | None:
    """Return the next due time of a job; None if only a change makes it due.

    A past time means that the job is due now, and that it runs once, even if it missed several runs. An interval counts from the
    beginning of the last run. A job with an interval, or a watching job, is due as soon as it is added.
    """
    last, when = job.last, job.when
    # A last run that ended in the future means that the clock was set back: this must not delay the retry.
    times: list[float | None] = [now if last.retry_at is not None and (last.ended_at or 0) > now else last.retry_at]
    since = min(job.added_at if last.begun_at is None else last.begun_at, now)
    if when.cron is not None:
        times.append(parse_cron(when.cron, zone)(since))
    if when.every is not None and last.begun_at is not None:
        times.append(since + when.every)
    if (when.every is not None or when.watch) and last.begun_at is None:
        times.append(since)
    return min((time for time in times if time is not None), default=None)


def due_jobs(jobs: Sequence[Job], now: float, zone: tzinfo) -> list[Job]:
    """Return the jobs that are due, by due time."""
    due = [(time, job.name, job) for job in jobs if (time := next_due(job, now, zone)) is not None and time <= now]
    return [job for _, _, job in sorted(due, key=lambda entry: entry[:2])]


def retry_delay(failures: int) -> float:
    """Return the seconds until a retry after a number of failures in a row: 60, 120, 240 and so on, at most 3600."""
    return min(_FIRST_RETRY_SECONDS * 2.0 ** min(max(failures, 1) - 1, 30), _MAX_RETRY_SECONDS)


def after_run(last: JobStatus, summary: Summary, now: float) -> JobStatus:
    """Return the status of a job after a run that finished. A run with a missing folder counts as a failure."""
    if summary.away:
        return after_failure(last, f"{', '.join(map(repr, summary.away))}: missing, or not mounted", now, AWAY)
    reason = f"{summary.failed} files failed" if summary.failed else None
    return JobStatus(last.begun_at, _end(last, now), now, None, DONE, reason)


def after_failure(last: JobStatus, reason: str, now: float, outcome: str = FAILED) -> JobStatus:
    """Return the status of a job after a run that failed: it is retried after `retry_delay`."""
    failures = last.failures + 1
    return replace(
        last, ended_at=_end(last, now), outcome=outcome, reason=reason, failures=failures, retry_at=now + retry_delay(failures)
    )


def after_busy(last: JobStatus, reason: str, now: float) -> JobStatus:
    """Return the status of a job that did not run because another process was writing: it is retried soon."""
    return replace(last, ended_at=_end(last, now), outcome=WAITING, reason=reason, retry_at=now + _BUSY_RETRY_SECONDS)


def after_interruption(last: JobStatus, reason: str, now: float) -> JobStatus:
    """Return the status of a job whose run was stopped: it is due at once, and resumes."""
    return replace(last, ended_at=_end(last, now), outcome=INTERRUPTED, reason=reason, retry_at=now)


def after_death(last: JobStatus, now: float) -> JobStatus:
    """Return the status of a job whose process died: it is due at once, and resumes."""
    return replace(last, ended_at=_end(last, now), outcome=DIED, reason="its process died", retry_at=now)


def _end(last: JobStatus, now: float) -> float:
    """Return the end of a run that ends now. It is not before the beginning, even if the clock was set back."""
    return now if last.begun_at is None else max(now, last.begun_at)
