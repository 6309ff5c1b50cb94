"""How runs ended, as far as can be told: one whose process died could not say so itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

RUNNING, DONE, FAILED, INTERRUPTED, DIED = "running", "done", "failed", "interrupted", "died"
WHY_IT_DIED = "Its process ended without a word: it was killed, ran out of memory, or the power failed."
_ROUNDED = 1.0
"""Seconds by which clocks that are read one after the other may seem to differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCounts:
    """What a run did, in files.

    `reused` have bytes that were classified before. `kept` are missing on disk, but keep their entries to be safe; `removed` lost
    them. `expired` were missing for longer than the grace period, and are deleted.
    """

    scanned: int = 0
    indexed: int = 0
    reused: int = 0
    unchanged: int = 0
    moved: int = 0
    removed: int = 0
    failed: int = 0
    kept: int = 0
    expired: int = 0

    def __add__(self, other: RunCounts) -> RunCounts:
        return RunCounts(**{name: getattr(self, name) + getattr(other, name) for name in COUNT_NAMES})

    @property
    def changed_anything(self) -> bool:
        """Whether the run changed what searches find."""
        return bool(self.indexed or self.reused or self.moved or self.removed or self.expired)

    def nonzero(self) -> dict[str, int]:
        """The counts that are not zero, by name."""
        return {name: count for name in COUNT_NAMES if (count := getattr(self, name))}


COUNT_NAMES = tuple(field.name for field in fields(RunCounts))


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


class RunRecord(NamedTuple):
    """One index run. Times are seconds since the epoch; `outcome` is running, done, failed, interrupted or died.

    `reason` is a sentence that explains the outcome, if there is anything to explain; `pid` is the id of the run's process.
    """

    id: int
    started_at: float
    ended_at: float | None
    roots: tuple[bytes, ...]
    outcome: str
    counts: Mapping[str, int]
    reason: str | None = None
    pid: int = 0


class RunTotals(NamedTuple):
    """Totals of all runs: files indexed and failed, and the number of runs by outcome."""

    indexed: int
    failed: int
    outcomes: Mapping[str, int]
