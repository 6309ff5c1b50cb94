"""When jobs are due, and the status of jobs that fail, wait, are stopped or die. Tests set the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from indexer.domain.errors import Interrupted, ModelUnavailable, StoreDamaged, WriterBusy
from indexer.domain.jobs import Job, JobStatus, Trigger
from indexer.domain.reports import Summary
from indexer.ports.job_store import JobStore
from indexer.scheduling.scheduler import Schedule
from indexer.scheduling.timing import due_jobs, next_due, retry_delay
from tests.support.events import LoggedEvents
from tests.support.memory_jobs import MemoryJobs

HOUR, DAY = 3600.0, 86400.0
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp()
NIGHTLY = Job("nightly", (b"/a",), Trigger(cron="0 3 * * *"), added_at=NOON)
HOURLY = Job("hourly", (b"/b",), Trigger(every=HOUR), added_at=NOON)
WATCHING = Job("watching", (b"/c",), Trigger(watch=True), added_at=NOON)
DONE = Summary(scanned=5, indexed=2, unchanged=3, seconds=0.5, images_per_second=4.0, device="cpu", engine="fake", model="fake")


def succeeded(job: Job, at: float) -> Job:
    return replace(job, last=JobStatus(begun_at=at, ended_at=at, succeeded_at=at, outcome="done"))


def test_a_cron_job_waits_for_its_time_and_an_interval_begins_at_once() -> None:
    assert next_due(NIGHTLY, NOON, UTC) == NOON + 15 * HOUR
    assert next_due(HOURLY, NOON, UTC) == NOON
    assert next_due(WATCHING, NOON, UTC) == NOON
    assert next_due(succeeded(WATCHING, NOON), NOON + DAY, UTC) is None
    assert next_due(succeeded(HOURLY, NOON), NOON, UTC) == NOON + HOUR


def test_a_job_that_missed_several_times_is_due_once() -> None:
    now = NOON + 10 * DAY
    assert due_jobs([NIGHTLY], now, UTC) == [NIGHTLY]
    assert due_jobs([succeeded(NIGHTLY, now)], now, UTC) == []
    assert next_due(succeeded(NIGHTLY, now), now, UTC) == now + 15 * HOUR


def test_the_longest_overdue_job_runs_first() -> None:
    jobs = [succeeded(HOURLY, NOON + HOUR), NIGHTLY, succeeded(WATCHING, NOON)]
    assert [job.name for job in due_jobs(jobs, NOON + DAY, UTC)] == ["hourly", "nightly"]


def test_a_clock_that_was_set_back_delays_no_job() -> None:
    ahead = succeeded(HOURLY, NOON + 100 * DAY)
    assert next_due(ahead, NOON, UTC) == NOON + HOUR


def test_retry_delays_double_up_to_an_hour() -> None:
    assert [retry_delay(n) for n in (1, 2, 3, 6, 7, 100)] == [60, 120, 240, 1920, 3600, 3600]


@pytest.fixture
def events() -> Iterator[LoggedEvents]:
    with LoggedEvents() as logged:
        yield logged


class ScheduleHarness:
    """A schedule with a clock that tests set. Each job takes 10 s and ends as `ends` says."""

    def __init__(self, *jobs: Job) -> None:
        self.jobs: JobStore = MemoryJobs(*jobs)
        self.now = NOON
        self.ran: list[str] = []
        self.ends: dict[str, Callable[[], Summary]] = {}

    @property
    def schedule(self) -> Schedule:
        @contextmanager
        def open_jobs() -> Iterator[JobStore]:
            yield self.jobs

        return Schedule(open_jobs, self.work, lambda: self.now, UTC)

    def work(self, job: Job) -> Summary:
        self.ran.append(job.name)
        self.now += 10
        return self.ends.get(job.name, lambda: DONE)()

    def last(self, name: str) -> JobStatus:
        return next(job.last for job in self.jobs.jobs() if job.name == name)

    def fail(self, name: str, error: BaseException) -> None:
        def end() -> Summary:
            raise error

        self.ends[name] = end


def test_due_jobs_run_once_and_one_after_another() -> None:
    harness = ScheduleHarness(NIGHTLY, HOURLY, replace(HOURLY, name="short", when=Trigger(every=10.0)))
    assert harness.schedule.run_due() == 0
    assert harness.ran == ["hourly", "short"]  # "short" is due again, but every due job runs once first
    assert harness.schedule.wait() == 0
    assert harness.last("hourly") == JobStatus(NOON, NOON + 10, NOON + 10, None, "done", None)
    harness.now = NOON + 15 * HOUR
    harness.schedule.run_due()
    assert sorted(harness.ran[2:]) == ["hourly", "nightly", "short"]


def test_the_service_waits_for_the_next_job_but_at_most_ten_seconds() -> None:
    assert ScheduleHarness(NIGHTLY).schedule.wait() == 10
    harness = ScheduleHarness(NIGHTLY)
    harness.now = NOON + 15 * HOUR - 4
    assert harness.schedule.wait() == 4
    assert ScheduleHarness().schedule.wait() == 10


@pytest.mark.parametrize("error", [ModelUnavailable("no model"), RuntimeError("broken"), StoreDamaged("damaged")])
def test_a_failed_job_is_logged_and_retried_later_and_stops_no_other(error: Exception, events: LoggedEvents) -> None:
    harness = ScheduleHarness(succeeded(NIGHTLY, NOON - 2 * DAY), HOURLY)
    harness.fail("nightly", error)
    code = harness.schedule.run_due()
    assert code == getattr(error, "exit_code", 1)
    assert harness.ran == ["nightly", "hourly"]
    assert ("error", "job_failed") in events.names
    last = harness.last("nightly")
    assert (last.outcome, last.failures, last.retry_at) == ("failed", 1, NOON + 10 + 60)
    assert str(error) in (last.reason or "")
    assert last.succeeded_at == NOON - 2 * DAY
    harness.now = NOON + 71
    harness.schedule.run_due()
    assert (harness.last("nightly").failures, harness.last("nightly").retry_at) == (2, NOON + 71 + 10 + 120)
    del harness.ends["nightly"]
    harness.now += 131
    assert harness.schedule.run_due() == 0
    assert (harness.last("nightly").failures, harness.last("nightly").retry_at) == (0, None)


def test_a_missing_folder_is_reported_and_the_job_retried(events: LoggedEvents) -> None:
    harness = ScheduleHarness(HOURLY)
    harness.ends["hourly"] = lambda: replace(DONE, away=("/mnt/disk",))
    assert harness.schedule.run_due() == 3
    last = harness.last("hourly")
    assert (last.outcome, last.retry_at, last.succeeded_at) == ("away", NOON + 10 + 60, None)
    assert "/mnt/disk" in (last.reason or "")
    assert ("warning", "job_away") in events.names


def test_failed_files_do_not_fail_the_job() -> None:
    harness = ScheduleHarness(HOURLY)
    harness.ends["hourly"] = lambda: replace(DONE, failed=2)
    assert harness.schedule.run_due() == 3
    assert (harness.last("hourly").outcome, harness.last("hourly").reason) == ("done", "2 files failed")


def test_a_job_waits_while_another_process_writes() -> None:
    harness = ScheduleHarness(HOURLY)
    harness.fail("hourly", WriterBusy("another is writing"))
    assert harness.schedule.run_due() == 4
    assert (harness.last("hourly").outcome, harness.last("hourly").failures) == ("waiting", 0)
    assert harness.schedule.wait() == 10
    harness.now += 15
    harness.ends.clear()
    assert harness.schedule.run_due() == 0
    assert harness.last("hourly").outcome == "done"


@pytest.mark.parametrize("stop", [Interrupted("Stopped by SIGTERM; the results are saved.", 15), KeyboardInterrupt()])
def test_a_stopped_job_resumes_at_the_next_start(stop: BaseException) -> None:
    harness = ScheduleHarness(HOURLY, NIGHTLY)
    harness.fail("hourly", stop)
    with pytest.raises(type(stop)):
        harness.schedule.run_due()
    last = harness.last("hourly")
    assert (last.outcome, last.retry_at, last.failures) == ("interrupted", NOON + 10, 0)
    assert [job.name for job in due_jobs(harness.jobs.jobs(), harness.now, UTC)] == ["hourly"]


def test_a_job_whose_process_died_resumes_at_the_next_start() -> None:
    harness = ScheduleHarness(replace(NIGHTLY, last=JobStatus(begun_at=NOON - 60)), succeeded(HOURLY, NOON))
    harness.schedule.recover()
    assert harness.last("nightly").outcome == "died"
    assert harness.schedule.run_due() == 0
    assert harness.ran == ["nightly"]


def test_a_job_that_another_process_began_is_skipped() -> None:
    harness = ScheduleHarness(HOURLY)
    seen = harness.jobs.jobs()[0]
    harness.jobs.claim_job(seen, NOON)
    assert harness.schedule._run(seen) == 0
    assert harness.ran == []


def test_a_job_with_changed_folders_runs_at_once() -> None:
    harness = ScheduleHarness(succeeded(WATCHING, NOON), succeeded(NIGHTLY, NOON))
    assert harness.schedule.run_due(frozenset({"watching"})) == 0
    assert harness.ran == ["watching"]


def test_a_job_that_is_removed_while_it_runs_stays_removed() -> None:
    harness = ScheduleHarness(HOURLY)

    def remove() -> Summary:
        harness.jobs.remove_job("hourly")
        return DONE

    harness.ends["hourly"] = remove
    assert harness.schedule.run_due() == 0
    assert harness.jobs.jobs() == []


def test_many_due_jobs_are_read_a_few_times_and_those_that_were_removed_do_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = ScheduleHarness(*(replace(HOURLY, name=f"job{number:03}") for number in range(300)))
    reads: list[int] = []
    real_jobs = MemoryJobs.jobs

    def jobs(self: MemoryJobs) -> list[Job]:
        reads.append(1)
        return real_jobs(self)

    def change_others() -> Summary:
        harness.jobs.remove_job("job100")
        harness.jobs.add_job(replace(HOURLY, name="added"))
        return DONE

    monkeypatch.setattr(MemoryJobs, "jobs", jobs)
    harness.ends["job000"] = change_others
    assert harness.schedule.run_due() == 0
    assert len(reads) == 3 and len(harness.ran) == 300
    assert harness.ran[-1] == "added" and "job100" not in harness.ran
