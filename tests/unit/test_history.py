"""Which of the runs that never ended are still running."""

from __future__ import annotations

import pytest

from indexer.domain.runs import RunRecord, WriterInfo, with_dead_runs_marked


def run(number: int, outcome: str, pid: int = 7, started: float = 100.0) -> RunRecord:
    return RunRecord(number, started, None if outcome == "running" else started + 1, (b"/a",), outcome, {}, pid=pid)


def test_a_run_is_running_while_its_process_writes() -> None:
    for since in (99.5, 100.2):  # by clocks that are read one after the other
        (one,) = with_dead_runs_marked(lambda: [run(1, "running", started=100.0)], lambda since=since: WriterInfo(7, since))
        assert one.outcome == "running"


@pytest.mark.parametrize(
    "writer",
    [None, WriterInfo(8, 99.0), WriterInfo(7, 5000.0)],
    ids=["nobody writes", "another writes", "its number is used again"],
)
def test_else_it_has_died(writer: WriterInfo | None) -> None:
    (died,) = with_dead_runs_marked(lambda: [run(1, "running")], lambda: writer)
    assert died.outcome == "died"
    assert "killed" in (died.reason or "")


def test_runs_that_ended_say_so_themselves_and_nobody_is_asked() -> None:
    runs = [run(2, "interrupted"), run(1, "done")]
    assert with_dead_runs_marked(lambda: runs, lambda: pytest.fail("asked")) == runs


def test_a_run_that_ends_while_it_is_asked_who_writes_has_not_died() -> None:
    read = iter([[run(1, "running")], [run(2, "running", pid=8), run(1, "done")]])
    assert [one.outcome for one in with_dead_runs_marked(lambda: next(read), lambda: None)] == ["running", "done"]
