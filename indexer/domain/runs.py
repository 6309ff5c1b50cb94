"""How runs ended, as far as can be told: one whose process died could not say so itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.ports.store_reader import RunRecord

RUNNING, DONE, FAILED, INTERRUPTED, DIED = "running", "done", "failed", "interrupted", "died"
WHY_IT_DIED = "Its process ended without a word: it was killed, ran out of memory, or the power failed."
_ROUNDED = 1.0
"""Seconds by which clocks that are read one after the other may seem to differ."""


@dataclass(frozen=True, slots=True)
class WriterInfo:
    """The process that holds the writer's lock, and since when, in seconds since the epoch."""

    pid: int
    since: float


def with_dead_runs_marked(read: Callable[[], Sequence[RunRecord]], writer: Callable[[], WriterInfo | None]) -> list[RunRecord]:
    """Runs, newest first, with those that died named so: all that still seem to run but the one of who is writing now, if any.

    `read` gives the runs. Only where it matters `writer` is asked, and the runs are read again: one may have ended meanwhile.
    """
    runs = read()
    if all(run.outcome != RUNNING for run in runs):
        return list(runs)
    holder = writer()
    known = {run.id for run in runs}
    return [_died(run) if run.id in known and run.outcome == RUNNING and not _is_by(run, holder) else run for run in read()]


def _is_by(run: RunRecord, holder: WriterInfo | None) -> bool:
    # Numbers of processes are used again: a run from before the lock was taken is another's.
    return holder is not None and run.pid == holder.pid and run.started_at >= holder.since - _ROUNDED


def _died(run: RunRecord) -> RunRecord:
    return run._replace(outcome=DIED, reason=WHY_IT_DIED)
