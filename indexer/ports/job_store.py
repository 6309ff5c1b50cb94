"""The port for stored jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from indexer.domain.jobs import Job, JobStatus


class JobStore(Protocol):
    """The scheduled jobs.

    Each method is one short transaction over rows that no index run changes. Methods need no writer lock, so that a user can add
    jobs during a run.
    """

    def jobs(self) -> list[Job]:
        """Return every job, by name."""

    def add_job(self, job: Job) -> bool:
        """Add a job; return False, without a change, if its name is taken."""

    def remove_job(self, name: str) -> bool:
        """Remove a job; return False if there is no job of that name."""

    def claim_job(self, job: Job, now: float) -> bool:
        """Record that a job begins at `now`, and return True, if it was neither begun nor replaced since it was read.

        If two processes try, only one gets True. Times are seconds since the epoch.
        """

    def record_job_status(self, name: str, last: JobStatus) -> None:
        """Record the status of a job; ignore a job that was removed since it began."""
