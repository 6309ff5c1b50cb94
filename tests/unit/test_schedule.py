"""What is due when, and what becomes of jobs that fail, wait, are stopped or die: by a clock that tests set."""

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
from indexer.scheduling.timing import back_off, due, next_due
from tests.support.events import LoggedEvents
from tests.support.memory_jobs import MemoryJobs

HOUR, DAY = 3600.0, 86400.0
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp()
NIGHTLY = Job("nightly", (b"/a",), Trigger(cron="0 3 * * *"), added_at=NOON)
HOURLY = Job("hourly", (b"/b",), Trigger(every=HOUR), added_at=NOON)
WATCHING = Job("watching", (b"/c",), Trigger(watch=True), added_at=NOON)
DONE = Summary(scanned=5, indexed=2, unchanged=3, seconds=0.5, images_per_second=4.0, device="cpu", engine="fake", model="fake")


def begun(job: Job, at: float) -> Job:
    return replace(job, last=JobStatus(begun_at=at, ended_at=at, succeeded_at=at, outcome="done"))


def test_a_cron_job_waits_for_its_time_and_an_interval_begins_at_once() -> None:
    assert next_due(NIGHTLY, NOON, UTC) == NOON + 15 * HOUR
    assert next_due(HOURLY, NOON, UTC) == NOON
    assert next_due(WATCHING, NOON, UTC) == NOON
    assert next_due(begun(WATCHING, NOON), NOON + DAY, UTC) is None
    assert next_due(begun(HOURLY, NOON), NOON, UTC) == NOON + HOUR


def test_what_was_missed_is_due_once_however_often_it_was_missed() -> None:
    now = NOON + 10 * DAY
    assert due([NIGHTLY], now, UTC) == [NIGHTLY]
    assert due([begun(NIGHTLY, now)], now, UTC) == []
    assert next_due(begun(NIGHTLY, now), now, UTC) == now + 15 * HOUR


def test_who_has_waited_longest_comes_first() -> None:
    jobs = [begun(HOURLY, NOON + HOUR), NIGHTLY, begun(WATCHING, NOON)]
    assert [job.name for job in due(jobs, NOON + DAY, UTC)] == ["hourly", "nightly"]


def test_a_clock_that_was_set_back_puts_no_job_off() -> None:
    ahead = begun(HOURLY, NOON + 100 * DAY)
    assert next_due(ahead, NOON, UTC) == NOON + HOUR


def test_waiting_doubles_up_to_an_hour() -> None:
    assert [back_off(n) for n in (1, 2, 3, 6, 7, 100)] == [60, 120, 240, 1920, 3600, 3600]


@pytest.fixture
def events() -> Iterator[LoggedEvents]:
    with LoggedEvents() as logged:
        yield logged


class World:
    """A schedule whose jobs end as they are told to."""

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


def test_all_that_is_due_runs_one_after_the_other_and_once() -> None:
    world = World(NIGHTLY, HOURLY, replace(HOURLY, name="short", when=Trigger(every=10.0)))
    assert world.schedule.run_due() == 0
    assert world.ran == ["hourly", "short"]  # "short" is due again by now, and has its turn when the others had theirs
    assert world.schedule.wait() == 0
    assert world.last("hourly") == JobStatus(NOON, NOON + 10, NOON + 10, None, "done", None)
    world.now = NOON + 15 * HOUR
    world.schedule.run_due()
    assert sorted(world.ran[2:]) == ["hourly", "nightly", "short"]


def test_the_service_waits_until_something_is_due_but_looks_again_soon() -> None:
    assert World(NIGHTLY).schedule.wait() == 10
    world = World(NIGHTLY)
    world.now = NOON + 15 * HOUR - 4
    assert world.schedule.wait() == 4
    assert World().schedule.wait() == 10


@pytest.mark.parametrize("error", [ModelUnavailable("no model"), RuntimeError("broken"), StoreDamaged("damaged")])
def test_a_failure_is_told_and_tried_again_ever_later_and_stops_nobody(error: Exception, events: LoggedEvents) -> None:
    world = World(begun(NIGHTLY, NOON - 2 * DAY), HOURLY)
    world.fail("nightly", error)
    code = world.schedule.run_due()
    assert code == getattr(error, "exit_code", 1)
    assert world.ran == ["nightly", "hourly"]
    assert ("error", "job_failed") in events.names
    last = world.last("nightly")
    assert (last.outcome, last.failures, last.retry_at) == ("failed", 1, NOON + 10 + 60)
    assert str(error) in (last.reason or "")
    assert last.succeeded_at == NOON - 2 * DAY
    world.now = NOON + 71
    world.schedule.run_due()
    assert (world.last("nightly").failures, world.last("nightly").retry_at) == (2, NOON + 71 + 10 + 120)
    del world.ends["nightly"]
    world.now += 131
    assert world.schedule.run_due() == 0
    assert (world.last("nightly").failures, world.last("nightly").retry_at) == (0, None)


def test_a_folder_that_is_away_is_told_and_tried_again(events: LoggedEvents) -> None:
    world = World(HOURLY)
    world.ends["hourly"] = lambda: replace(DONE, away=("/mnt/disk",))
    assert world.schedule.run_due() == 3
    last = world.last("hourly")
    assert (last.outcome, last.retry_at, last.succeeded_at) == ("away", NOON + 10 + 60, None)
    assert "/mnt/disk" in (last.reason or "")
    assert ("warning", "job_away") in events.names


def test_files_that_failed_are_no_failure_of_the_job() -> None:
    world = World(HOURLY)
    world.ends["hourly"] = lambda: replace(DONE, failed=2)
    assert world.schedule.run_due() == 3
    assert (world.last("hourly").outcome, world.last("hourly").reason) == ("done", "2 files failed")


def test_who_finds_another_writer_waits_for_a_turn() -> None:
    world = World(HOURLY)
    world.fail("hourly", WriterBusy("another is writing"))
    assert world.schedule.run_due() == 4
    assert (world.last("hourly").outcome, world.last("hourly").failures) == ("waiting", 0)
    assert world.schedule.wait() == 10
    world.now += 15
    world.ends.clear()
    assert world.schedule.run_due() == 0
    assert world.last("hourly").outcome == "done"


@pytest.mark.parametrize("stop", [Interrupted("Stopped by SIGTERM; all is kept.", 15), KeyboardInterrupt()])
def test_a_stopped_job_goes_on_at_the_next_start(stop: BaseException) -> None:
    world = World(HOURLY, NIGHTLY)
    world.fail("hourly", stop)
    with pytest.raises(type(stop)):
        world.schedule.run_due()
    last = world.last("hourly")
    assert (last.outcome, last.retry_at, last.failures) == ("interrupted", NOON + 10, 0)
    assert [job.name for job in due(world.jobs.jobs(), world.now, UTC)] == ["hourly"]


def test_a_job_whose_process_died_goes_on_at_the_next_start() -> None:
    world = World(replace(NIGHTLY, last=JobStatus(begun_at=NOON - 60)), begun(HOURLY, NOON))
    world.schedule.recover()
    assert world.last("nightly").outcome == "died"
    assert world.schedule.run_due() == 0
    assert world.ran == ["nightly"]


def test_a_job_that_another_has_begun_meanwhile_is_left_to_it() -> None:
    world = World(HOURLY)
    seen = world.jobs.jobs()[0]
    world.jobs.claim_job("hourly", None, NOON)
    assert world.schedule._run(seen) == 0
    assert world.ran == []


def test_what_has_changed_runs_at_once() -> None:
    world = World(begun(WATCHING, NOON), begun(NIGHTLY, NOON))
    assert world.schedule.run_due(frozenset({"watching"})) == 0
    assert world.ran == ["watching"]


def test_a_job_that_is_removed_while_it_runs_stays_removed() -> None:
    world = World(HOURLY)

    def remove() -> Summary:
        world.jobs.remove_job("hourly")
        return DONE

    world.ends["hourly"] = remove
    assert world.schedule.run_due() == 0
    assert world.jobs.jobs() == []
