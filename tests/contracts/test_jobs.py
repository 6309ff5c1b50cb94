"""The contract of job stores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from db.sqlite.store import SqliteStore
from indexer.domain.jobs import Job, JobOptions, JobStatus, Trigger
from indexer.ports.job_store import JobStore
from tests.support.memory_jobs import MemoryJobs
from tests.support.postgres_store import open_postgres

NIGHTLY = Job(
    "nightly",
    (b"/a b/%", b"/\xff"),
    Trigger(cron="0 3 * * *"),
    JobOptions(model="mine", faces="off", exclude=("*.tmp", "x/"), follow_symlinks=True, workers=2, batch_size=8, device="cpu"),
    added_at=1000.5,
)
HOURLY = Job("hourly", (b"/b",), Trigger(every=3600.0, watch=True))


@pytest.fixture(params=["sqlite", "memory", "postgresql"])
def job_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    match request.param:
        case "memory":
            yield MemoryJobs()
        case "sqlite":
            with SqliteStore(tmp_path / "moodex.sqlite") as sqlite:
                yield sqlite
        case "postgresql":
            with open_postgres(request.getfixturevalue("postgres_url")) as postgres:
                yield postgres


def test_jobs_are_returned_unchanged_and_ordered_by_name(job_store: JobStore) -> None:
    assert job_store.jobs() == []
    assert job_store.add_job(NIGHTLY)
    assert job_store.add_job(HOURLY)
    assert job_store.jobs() == [HOURLY, NIGHTLY]


def test_a_name_can_be_used_once(job_store: JobStore) -> None:
    assert job_store.add_job(NIGHTLY)
    assert not job_store.add_job(replace(HOURLY, name="nightly"))
    assert job_store.jobs() == [NIGHTLY]


def test_a_removed_job_is_not_returned(job_store: JobStore) -> None:
    job_store.add_job(NIGHTLY)
    assert job_store.remove_job("nightly")
    assert not job_store.remove_job("nightly")
    job_store.record_job_status("nightly", JobStatus(begun_at=1.0))
    assert job_store.jobs() == []


def test_one_of_two_processes_claims_a_job(job_store: JobStore) -> None:
    job_store.add_job(NIGHTLY)
    job_store.record_job_status("nightly", JobStatus(retry_at=9.0, failures=2))
    assert job_store.claim_job(NIGHTLY, 10.0)
    assert not job_store.claim_job(NIGHTLY, 11.0)
    (job,) = job_store.jobs()
    assert job.last == JobStatus(begun_at=10.0, failures=2)
    assert job.last.unfinished
    assert job_store.claim_job(job, 12.0)
    assert not job_store.claim_job(HOURLY, 13.0)


def test_a_job_that_was_replaced_is_not_claimed(job_store: JobStore) -> None:
    job_store.add_job(NIGHTLY)
    job_store.remove_job("nightly")
    job_store.add_job(replace(NIGHTLY, added_at=2000.25))
    assert not job_store.claim_job(NIGHTLY, 2001.0)
    assert job_store.claim_job(job_store.jobs()[0], 2001.0)


def test_the_status_of_a_job_is_stored(job_store: JobStore) -> None:
    job_store.add_job(NIGHTLY)
    status = JobStatus(10.0, 20.0, 5.0, 80.0, "failed", "the disk is full", 3)
    job_store.record_job_status("nightly", status)
    assert job_store.jobs() == [replace(NIGHTLY, last=status)]
    assert not status.unfinished
