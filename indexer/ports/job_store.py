"""Where the schedule is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from indexer.domain.jobs import Job, JobStatus


class JobStore(Protocol):
    """The scheduled jobs.

    Each method is one short transaction over rows that no index run touches. It needs no writer lock, so that jobs can be added
    during a run.
    """

    def jobs(self) -> list[Job]:
        """Return every job, by name."""

    def add_job(self, job: Job) -> bool:
        """Add a job; False, and nothing changes, if its name is taken."""

    def remove_job(self, name: str) -> bool:
        """Remove a job; False if there is no job of that name."""

    def claim_job(self, name: str, seen: float | None, now: float) -> bool:
        """Record that a job begins now, unless it began since it was `seen`: of two processes that try, one runs it."""

    def note_job(self, name: str, last: JobStatus) -> None:
        """Record how a job went; does nothing for a job that was removed meanwhile."""
