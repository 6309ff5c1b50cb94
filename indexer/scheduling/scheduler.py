"""The scheduler: runs due jobs one after the other, and records how each run ended.

A job that fails does not stop the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import TYPE_CHECKING

from indexer.domain.errors import Interrupted, MoodexError, WriterBusy
from indexer.domain.jobs import AWAY, Job, JobStatus
from indexer.scheduling import timing
from indexer.system.events import log_event

if TYPE_CHECKING:
    from indexer.domain.reports import Summary
    from indexer.ports.job_store import JobStore

_MAX_WAIT_SECONDS = 10.0
"""Longest wait before the jobs are read again: users add and remove jobs, clocks are set, and laptops sleep."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The jobs, and the functions that run them.

    - `open_jobs`: opens the store of the jobs for one transaction.
    - `index`: indexes the folders of a job.
    - `clock`: returns seconds since the epoch.
    - `after_run`: called after each run.
    """

    open_jobs: Callable[[], AbstractContextManager[JobStore]]
    index: Callable[[Job], Summary]
    clock: Callable[[], float]
    zone: tzinfo
    after_run: Callable[[], None] = lambda: None

    def jobs(self) -> list[Job]:
        """Return every job with its current status."""
        with self.open_jobs() as jobs:
            return jobs.jobs()

    def recover(self) -> None:
        """Mark jobs as died whose run did not end; they are due at once. Call this only while no process is writing."""
        with self.open_jobs() as jobs:
            for job in jobs.jobs():
                if job.last.unfinished:
                    log_event("warning", "job_died", f"{job.name}: its last run did not end; it resumes now.", job=job.name)
                    jobs.record_job_status(job.name, timing.after_death(job.last, self.clock()))

    def wait(self) -> float:
        """Return the seconds until a job is due, or until the jobs should be read again."""
        now = self.clock()
        times = [time for job in self.jobs() if (time := timing.next_due(job, now, self.zone)) is not None]
        return max(0.0, min([time - now for time in times] + [_MAX_WAIT_SECONDS]))

    def run_due(self, changed: frozenset[str] = frozenset()) -> int:
        """Run every job that is due or named in `changed`, once each.

        `changed` has the names of jobs whose folders changed. Returns the first exit code other than 0 and 3. If all are 0 or 3,
        returns their maximum. Raises Interrupted.
        """
        started: set[str] = set()
        exit_code = 0
        # The jobs are read again at the end: users may have added some. Those that were removed meanwhile are not claimed.
        while due := self._due(changed, started):
            for job in due:
                started.add(job.name)
                job_code = self._run(job)
                exit_code = job_code if exit_code in (0, 3) and job_code else exit_code
        return exit_code

    def _due(self, changed: frozenset[str], started: Collection[str]) -> list[Job]:
        """Return the jobs that are due, then the others that are `changed`, without those that were started."""
        jobs = [job for job in self.jobs() if job.name not in started]
        due = timing.due_jobs(jobs, self.clock(), self.zone)
        names = {job.name for job in due}
        return due + [job for job in jobs if job.name in changed and job.name not in names]

    def _run(self, job: Job) -> int:
        now = self.clock()
        with self.open_jobs() as jobs:
            if not jobs.claim_job(job, now):
                return 0  # another process runs it, or it was removed
        begun = replace(job.last, begun_at=now, retry_at=None)
        log_event("info", "job_begins", f"{job.name}: begins.", job=job.name)
        try:
            summary = self.index(job)
        except (Interrupted, KeyboardInterrupt) as stop:
            self._record(job, timing.after_interruption(begun, str(stop) or "stopped at once", self.clock()))
            raise
        except WriterBusy as busy:
            self._record(job, timing.after_busy(begun, str(busy), self.clock()))
            log_event("info", "job_waits", f"{job.name}: {busy}", job=job.name)
            return busy.exit_code
        except Exception as error:
            reason = str(error) if isinstance(error, MoodexError) else f"unexpected {type(error).__name__}: {error}"
            last = timing.after_failure(begun, reason, self.clock())
            self._record(job, last)
            delay = timing.retry_delay(last.failures)
            facts = {"job": job.name, "failures": last.failures, "retry_in": delay}
            log_event("error", "job_failed", f"{job.name}: {reason} (retry in {delay:.0f} s)", **facts)
            return error.exit_code if isinstance(error, MoodexError) else 1
        last = timing.after_run(begun, summary, self.clock())
        self._record(job, last)
        if last.outcome == AWAY:
            sentence = f"{job.name}: {last.reason} (retry in {timing.retry_delay(last.failures):.0f} s)"
            log_event("warning", "job_away", sentence, job=job.name, away=list(summary.away))
        log_event("info", "job_done", f"{job.name}: {_describe(summary)}", job=job.name, **summary.as_dict())
        return summary.exit_code

    def _record(self, job: Job, last: JobStatus) -> None:
        with self.open_jobs() as jobs:
            jobs.record_job_status(job.name, last)
        self.after_run()


def _describe(summary: Summary) -> str:
    names = ("indexed", "reused", "unchanged", "moved", "removed", "kept", "left_out", "failed", "expired")
    counts = [f"{count:,} {name}" for name in names if (count := getattr(summary, name))]
    return f"{', '.join(counts) or 'no image files'}, in {summary.seconds:.1f} s."
