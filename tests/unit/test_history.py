"""Runs without a recorded end: still running, or died."""

from __future__ import annotations

import pytest

from indexer.domain.runs import RunRecord, WriterInfo, with_dead_runs_marked


def run_record(number: int, outcome: str, pid: int = 7, started: float = 100.0) -> RunRecord:
    return RunRecord(number, started, None if outcome == "running" else started + 1, (b"/a",), outcome, {}, pid=pid)


def test_a_run_is_running_while_its_process_writes() -> None:
    for since in (99.5, 100.2):  # the clocks of run and writer are read one after another
        (run,) = with_dead_runs_marked(
            lambda: [run_record(1, "running", started=100.0)], lambda since=since: [WriterInfo(7, since)]
        )
        assert run.outcome == "running"


@pytest.mark.parametrize(
    "writers",
    [[], [WriterInfo(8, 99.0)], [WriterInfo(7, 5000.0)]],
    ids=["no writer", "another writer", "process id was reused"],
)
def test_a_run_without_its_writer_has_died(writers: list[WriterInfo]) -> None:
    (died,) = with_dead_runs_marked(lambda: [run_record(1, "running")], lambda: writers)
    assert died.outcome == "died"
    assert "killed" in (died.reason or "")


def test_runs_of_several_writers_are_told_apart() -> None:
    runs = [run_record(2, "running", pid=8), run_record(1, "running", pid=7)]
    marked = with_dead_runs_marked(lambda: runs, lambda: [WriterInfo(9, 99.0), WriterInfo(8, 99.0)])
    assert [run.outcome for run in marked] == ["running", "died"]


def test_ended_runs_need_no_check_of_the_writer() -> None:
    runs = [run_record(2, "interrupted"), run_record(1, "done")]
    assert with_dead_runs_marked(lambda: runs, lambda: pytest.fail("the writer was read")) == runs


def test_a_run_that_ends_during_the_check_has_not_died() -> None:
    successive_runs = iter([[run_record(1, "running")], [run_record(2, "running", pid=8), run_record(1, "done")]])
    assert [run.outcome for run in with_dead_runs_marked(lambda: next(successive_runs), list)] == ["running", "done"]
