"""Scheduled jobs in memory. Implements `indexer.ports.job_store.JobStore`."""

from __future__ import annotations

from dataclasses import replace

from indexer.domain.jobs import Job, JobStatus


class MemoryJobs:
    def __init__(self, *jobs: Job) -> None:
        self._jobs = {job.name: job for job in jobs}

    def jobs(self) -> list[Job]:
        return [self._jobs[name] for name in sorted(self._jobs)]

    def add_job(self, job: Job) -> bool:
        return self._jobs.setdefault(job.name, job) is job

    def remove_job(self, name: str) -> bool:
        return self._jobs.pop(name, None) is not None

    def claim_job(self, job: Job, now: float) -> bool:
        known = self._jobs.get(job.name)
        if known is None or (known.added_at, known.last.begun_at) != (job.added_at, job.last.begun_at):
            return False
        self._jobs[job.name] = replace(known, last=replace(known.last, begun_at=now, retry_at=None))
        return True

    def record_job_status(self, name: str, last: JobStatus) -> None:
        if name in self._jobs:
            self._jobs[name] = replace(self._jobs[name], last=last)
