"""Scheduled jobs."""

from __future__ import annotations

from dataclasses import dataclass, field

WAITING, AWAY = "waiting", "away"
"""How a job may end that no run ends by: another was writing; a folder was not there, or looks unmounted."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """When a job is due: by a cron expression in local time, every so many seconds, and at once where something changes.

    At most one of `cron` and `every` is given; neither only where it watches.
    """

    cron: str | None = None
    every: float | None = None
    watch: bool = False


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What a job was told beside its paths; None and 0 mean what the settings say."""

    model: str | None = None
    faces: str | None = None
    exclude: tuple[str, ...] = ()
    follow_symlinks: bool = False
    workers: int = 0
    batch_size: int = 0
    device: str | None = None


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How a job went so far. Times are seconds since the epoch.

    `begun_at` and `ended_at` are of its last run, whose `outcome` is done, failed, interrupted, died, away or waiting, and why;
    `succeeded_at` of the last that was done. `retry_at` is when it is due whatever its schedule says; `failures` counts those
    since the last success.
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
        """Whether it has begun and not ended: it is running, or its process died."""
        return self.begun_at is not None and (self.ended_at is None or self.ended_at < self.begun_at)


@dataclass(frozen=True, slots=True)
class Job:
    """Folders to index again and again. `roots` are absolute."""

    name: str
    roots: tuple[bytes, ...]
    when: Trigger
    options: JobOptions = JobOptions()
    added_at: float = 0.0
    last: JobStatus = field(default=JobStatus())


@dataclass(frozen=True, slots=True)
class ScheduledJob:
    """A job with the time at which it is due next, in seconds since the epoch; None where only a change makes it due."""

    job: Job
    next_at: float | None
