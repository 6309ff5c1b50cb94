"""Runs what is due, one job after the other, and remembers how each went; a job that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable
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
"""Seconds after which the schedule is read again: jobs come and go, clocks are set, laptops sleep."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The jobs, and what it takes to run them.

    `open_jobs` opens where they are kept, for a moment; `work` indexes; `clock` gives seconds since the epoch; `after` is called
    after each run.
    """

    open_jobs: Callable[[], AbstractContextManager[JobStore]]
    work: Callable[[Job], Summary]
    clock: Callable[[], float]
    zone: tzinfo
    after: Callable[[], None] = lambda: None

    def jobs(self) -> list[Job]:
        """Every job as it stands."""
        with self.open_jobs() as jobs:
            return jobs.jobs()

    def recover(self) -> None:
        """Take jobs that began and never ended for dead: they are due at once. To be called when nobody is writing."""
        with self.open_jobs() as jobs:
            for job in jobs.jobs():
                if job.last.unfinished:
                    log_event("warning", "job_died", f"{job.name}: its last run did not end; it resumes now.", job=job.name)
                    jobs.record_job_status(job.name, timing.after_dying(job.last, self.clock()))

    def wait(self) -> float:
        """Seconds until something is due, or the schedule should be looked at again."""
        now = self.clock()
        times = [time for job in self.jobs() if (time := timing.next_due(job, now, self.zone)) is not None]
        return max(0.0, min([time - now for time in times] + [_MAX_WAIT_SECONDS]))

    def run_due(self, changed: frozenset[str] = frozenset()) -> int:
        """Run every job that is due, or whose folders have changed, once; the exit code that the worst of them has earned.

        Raises Interrupted.
        """
        tried: set[str] = set()
        worst = 0
        while True:
            jobs = [job for job in self.jobs() if job.name not in tried]
            hurried = [job for job in jobs if job.name in changed]
            waiting = timing.due(jobs, self.clock(), self.zone) + hurried
            if not waiting:
                return worst
            tried.add(waiting[0].name)
            code = self._run(waiting[0])
            worst = code if worst in (0, 3) and code else worst

    def _run(self, job: Job) -> int:
        now = self.clock()
        with self.open_jobs() as jobs:
            if not jobs.claim_job(job.name, job.last.begun_at, now):
                return 0  # somebody else runs it, or it was removed
        begun = replace(job.last, begun_at=now, retry_at=None)
        log_event("info", "job_begins", f"{job.name}: begins.", job=job.name)
        try:
            summary = self.work(job)
        except (Interrupted, KeyboardInterrupt) as stop:
            self._note(job, timing.after_stopping(begun, str(stop) or "stopped at once", self.clock()))
            raise
        except WriterBusy as busy:
            self._note(job, timing.after_busy(begun, str(busy), self.clock()))
            log_event("info", "job_waits", f"{job.name}: {busy}", job=job.name)
            return busy.exit_code
        except Exception as error:
            known = isinstance(error, MoodexError)
            reason = str(error) if known else f"unexpected {type(error).__name__}: {error}"
            last = timing.after_failure(begun, reason, self.clock())
            self._note(job, last)
            again = f"retry in {timing.back_off(last.failures):.0f} s"
            facts = {"job": job.name, "failures": last.failures, "retry_in": timing.back_off(last.failures)}
            log_event("error", "job_failed", f"{job.name}: {reason} ({again})", **facts)
            return error.exit_code if isinstance(error, MoodexError) else 1
        last = timing.after_run(begun, summary, self.clock())
        self._note(job, last)
        if last.outcome == AWAY:
            again = f"retry in {timing.back_off(last.failures):.0f} s"
            log_event("warning", "job_away", f"{job.name}: {last.reason} ({again})", job=job.name, away=list(summary.away))
        log_event("info", "job_done", f"{job.name}: {_told(summary)}", job=job.name, **summary.as_dict())
        return summary.exit_code

    def _note(self, job: Job, last: JobStatus) -> None:
        with self.open_jobs() as jobs:
            jobs.record_job_status(job.name, last)
        self.after()


def _told(summary: Summary) -> str:
    names = ("indexed", "reused", "unchanged", "moved", "removed", "kept", "failed", "expired")
    parts = [f"{count:,} {name}" for name in names if (count := getattr(summary, name))]
    return f"{', '.join(parts) or 'nothing there'}, in {summary.seconds:.1f} s."
