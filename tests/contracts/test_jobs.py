"""What every schedule promises, whichever it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from db.sqlite.store import SqliteStore
from indexer.domain.jobs import Job, JobOptions, JobStatus, Trigger
from indexer.ports.job_store import JobStore
from tests.support.memory_jobs import MemoryJobs

NIGHTLY = Job(
    "nightly",
    (b"/a b/%", b"/\xff"),
    Trigger(cron="0 3 * * *"),
    JobOptions(model="mine", faces="off", exclude=("*.tmp", "x/"), follow_symlinks=True, workers=2, batch_size=8, device="cpu"),
    added_at=1000.5,
)
HOURLY = Job("hourly", (b"/b",), Trigger(every=3600.0, watch=True))


@pytest.fixture(params=["sqlite", "memory"])
def schedule(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    if request.param == "memory":
        yield MemoryJobs()
    else:
        store = SqliteStore(tmp_path / "moodex.sqlite")
        yield store
        store.close()


def test_jobs_come_back_as_they_were_added_by_name(schedule: JobStore) -> None:
    assert schedule.jobs() == []
    assert schedule.add_job(NIGHTLY)
    assert schedule.add_job(HOURLY)
    assert schedule.jobs() == [HOURLY, NIGHTLY]


def test_a_name_is_taken_once(schedule: JobStore) -> None:
    assert schedule.add_job(NIGHTLY)
    assert not schedule.add_job(replace(HOURLY, name="nightly"))
    assert schedule.jobs() == [NIGHTLY]


def test_a_removed_job_is_gone(schedule: JobStore) -> None:
    schedule.add_job(NIGHTLY)
    assert schedule.remove_job("nightly")
    assert not schedule.remove_job("nightly")
    schedule.record_job_status("nightly", JobStatus(begun_at=1.0))
    assert schedule.jobs() == []


def test_of_two_that_would_run_a_job_one_does(schedule: JobStore) -> None:
    schedule.add_job(NIGHTLY)
    schedule.record_job_status("nightly", JobStatus(retry_at=9.0, failures=2))
    assert schedule.claim_job("nightly", None, 10.0)
    assert not schedule.claim_job("nightly", None, 11.0)
    (job,) = schedule.jobs()
    assert job.last == JobStatus(begun_at=10.0, failures=2)
    assert job.last.unfinished
    assert schedule.claim_job("nightly", 10.0, 12.0)
    assert not schedule.claim_job("none", None, 13.0)


def test_how_a_job_went_is_remembered(schedule: JobStore) -> None:
    schedule.add_job(NIGHTLY)
    last = JobStatus(10.0, 20.0, 5.0, 80.0, "failed", "the disk is full", 3)
    schedule.record_job_status("nightly", last)
    assert schedule.jobs() == [replace(NIGHTLY, last=last)]
    assert not last.unfinished
