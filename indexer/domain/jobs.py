"""Scheduled jobs."""

from __future__ import annotations

from dataclasses import dataclass, field

WAITING, AWAY = "waiting", "away"
"""Outcomes that only jobs have: another process was writing; a folder is missing or looks unmounted."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """The schedule of a job.

    - `cron`: cron expression in local time.
    - `every`: interval in seconds.
    - `watch`: run as soon as a folder changes.

    At most one of `cron` and `every` is set, and at least one of all three.
    """

    cron: str | None = None
    every: float | None = None
    watch: bool = False


@dataclass(frozen=True, slots=True)
class JobOptions:
    """The options of a job. None and 0 mean the value from the settings. `further_models` are used besides `model`."""

    model: str | None = None
    further_models: tuple[str, ...] = ()
    faces: str | None = None
    exclude: tuple[str, ...] = ()
    follow_symlinks: bool = False
    workers: int = 0
    batch_size: int = 0
    device: str | None = None


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The history of a job. Times are seconds since the epoch.

    - `begun_at`, `ended_at`, `outcome`, `reason`: of the last run.
    - `outcome`: done, failed, interrupted, died, away or waiting.
    - `succeeded_at`: end of the last run that was done.
    - `retry_at`: when the job is due, whatever its schedule says.
    - `failures`: number of failed runs since the last success.
    """

    begun_at: float | None = None
    ended_at: float | None = None
    succeeded_at: float | None = None
    retry_at: float | None = None
    outcome: str | None = None
    reason: str | None = None
    failures: int = 0

    @property
    def unfinished(self) -> bool:
        """Whether the last run has not ended: it is still running, or its process died."""
        return self.begun_at is not None and (self.ended_at is None or self.ended_at < self.begun_at)


@dataclass(frozen=True, slots=True)
class Job:
    """Folders that are indexed repeatedly. `roots` are absolute paths."""

    name: str
    roots: tuple[bytes, ...]
    when: Trigger
    options: JobOptions = JobOptions()
    added_at: float = 0.0
    last: JobStatus = field(default=JobStatus())


@dataclass(frozen=True, slots=True)
class ScheduledJob:
    """A job with its next due time in seconds since the epoch; None if only a change makes it due."""

    job: Job
    next_at: float | None
