"""The scheduled jobs in a store in SQL."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, Row, delete, select, update

from db.schema import JobRow
from db.sql.dialect import insert_missing
from db.sql.transactions import connect_for_writing
from db.sql.unpacking import connect_for_reading

if TYPE_CHECKING:
    from indexer.domain.jobs import Job, JobStatus


class SqlJobs:
    """Implements `indexer.ports.job_store.JobStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def jobs(self) -> list[Job]:
        with connect_for_reading(self._engine) as connection:
            return [_job(row) for row in connection.execute(select(JobRow.table).order_by(JobRow.name))]

    def add_job(self, job: Job) -> bool:
        row = {
            "name": job.name,
            "roots": [os.fsdecode(root) for root in job.roots],
            "cron": job.when.cron,
            "every": job.when.every,
            "watch": int(job.when.watch),
            "options": asdict(job.options),
            "added_at": job.added_at,
            **asdict(job.last),
        }
        with connect_for_writing(self._engine) as connection:
            added = insert_missing(connection.dialect.name, JobRow.table).values(row).returning(JobRow.id)
            return connection.execute(added).first() is not None

    def remove_job(self, name: str) -> bool:
        with connect_for_writing(self._engine) as connection:
            return bool(connection.execute(delete(JobRow.table).where(JobRow.name == name)).rowcount)

    def claim_job(self, job: Job, now: float) -> bool:
        same = (JobRow.name == job.name, JobRow.added_at == job.added_at, JobRow.begun_at.is_not_distinct_from(job.last.begun_at))
        unclaimed = update(JobRow.table).where(*same)
        with connect_for_writing(self._engine) as connection:
            return bool(connection.execute(unclaimed.values(begun_at=now, retry_at=None)).rowcount)

    def record_job_status(self, name: str, last: JobStatus) -> None:
        with connect_for_writing(self._engine) as connection:
            connection.execute(update(JobRow.table).where(JobRow.name == name).values(**asdict(last)))


def _job(row: Row[Any]) -> Job:
    from indexer.domain.jobs import Job, JobOptions, JobStatus, Trigger  # searches do not need them

    return Job(
        row.name,
        tuple(os.fsencode(root) for root in row.roots),
        Trigger(row.cron, row.every, bool(row.watch)),
        JobOptions(**_options(row.options)),
        row.added_at,
        JobStatus(row.begun_at, row.ended_at, row.succeeded_at, row.retry_at, row.outcome, row.reason, row.failures),
    )


def _options(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a job as they were before they were stored: JSON knows no tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
