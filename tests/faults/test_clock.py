"""Clocks that are set back and files with extreme times: changes are noticed, and no duration is negative."""

from __future__ import annotations

import json
import os
import shutil
import time
from datetime import UTC
from pathlib import Path

import pytest

from indexer.domain.files import FileState
from indexer.domain.jobs import Job, JobStatus, Trigger
from indexer.scheduling import service as scheduling_service
from indexer.scheduling.run_support import collect_metrics
from indexer.scheduling.timing import after_run, next_due
from tests.faults.conftest import IMAGES, Program
from tests.support.builders import draw_blocks, encoded
from tests.support.library import Library, counts

DAY_SECONDS = 86400.0
SECOND_NANOSECONDS = 10**9
EXTREME_TIMES_NANOSECONDS = (-(10**18), -1, 0, 1, 2**63 - 1, 2**63, 10**19, 15 * 10**18)
"""Times before 1970, and before and after 2262, when nanoseconds no longer fit into 64 bits."""


class Clock:
    """A clock that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._now = time.time()
        monkeypatch.setattr("time.time", lambda: self._now)

    def move(self, seconds: float) -> None:
        self._now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def set_time(path: Path, nanoseconds: int) -> bool:
    """Set the modification time of a file; return whether the file system stores it."""
    try:
        os.utime(path, ns=(0, nanoseconds))
    except (OSError, OverflowError):
        return False
    return path.stat().st_mtime_ns == nanoseconds


@pytest.mark.parametrize("nanoseconds", EXTREME_TIMES_NANOSECONDS)
def test_a_file_of_any_time_is_indexed_and_noticed_when_it_changes(library: Library, program: Program, nanoseconds: int) -> None:
    path = library.folder / "003.png"
    if not set_time(path, nanoseconds):
        pytest.skip("the file system cannot store this time")
    assert library.index().indexed == IMAGES
    assert counts(library.index()) == {"scanned": IMAGES, "unchanged": IMAGES}
    path.write_bytes(encoded(draw_blocks(800)))
    if set_time(path, nanoseconds - SECOND_NANOSECONDS):
        assert counts(library.index()) == {"scanned": IMAGES, "unchanged": IMAGES - 1, "indexed": 1}
    assert program.run("doctor", "--deep").returncode == 0


def test_a_file_that_becomes_older_is_noticed(library: Library) -> None:
    path = library.folder / "003.png"
    library.index()
    path.write_bytes(encoded(draw_blocks(800)))
    set_time(path, 10**18)
    assert counts(library.index()) == {"scanned": IMAGES, "unchanged": IMAGES - 1, "indexed": 1}
    shutil.copyfile(library.folder / "004.png", path)
    set_time(path, 10**18 - SECOND_NANOSECONDS)
    assert counts(library.index()) == {"scanned": IMAGES, "unchanged": IMAGES - 1, "reused": 1}


def test_a_run_has_no_negative_duration_if_the_clock_is_set_back(library: Library, program: Program, clock: Clock) -> None:
    classify = library.classifier.classify

    def set_back_and_classify(pixels: object) -> object:
        clock.move(-400 * DAY_SECONDS)
        return classify(pixels)  # type: ignore[arg-type]

    library.classifier.classify = set_back_and_classify  # type: ignore[method-assign, assignment]
    assert library.index().seconds > 0  # measured with the monotonic clock
    (run,) = scheduling_service.list_runs(library.opened, 5)
    assert run.ended_at == run.started_at and run.outcome == "done"
    (record,) = json.loads(program.run("runs", "--json").stdout)
    assert record["seconds"] == 0
    assert "   0.0 s  done" in program.run("runs").stdout
    assert "last_run_duration_seconds 0\n" in collect_metrics(library.opened, True)
    assert program.run("status").returncode == 0


def test_a_grace_period_does_not_become_shorter_if_the_clock_is_set_back(library: Library, clock: Clock) -> None:
    library.index()
    (library.folder / "003.png").unlink()
    assert library.index().removed == 1
    clock.move(-400 * DAY_SECONDS)
    assert library.index().expired == 0
    clock.move(429 * DAY_SECONDS)
    assert library.index().expired == 0
    clock.move(2 * DAY_SECONDS)
    assert library.index().expired == 1
    with library.store() as store:
        assert store.counts().files == {FileState.DONE: IMAGES - 1}


def test_a_job_counts_as_ended_if_the_clock_is_set_back_during_it(library: Library) -> None:
    now, earlier = 1e9, 1e9 - 400 * DAY_SECONDS
    summary = library.index()
    status = after_run(JobStatus(begun_at=now), summary, earlier)
    assert not status.unfinished


def test_a_retry_of_a_job_is_not_postponed_if_the_clock_is_set_back() -> None:
    now, earlier = 1e9, 1e9 - 400 * DAY_SECONDS
    status = JobStatus(begun_at=now, ended_at=now, retry_at=now + 60, outcome="failed", failures=1)
    job = Job("all", (b"/",), Trigger(watch=True), last=status)
    assert next_due(job, now, UTC) == now + 60
    assert next_due(job, earlier, UTC) == earlier
