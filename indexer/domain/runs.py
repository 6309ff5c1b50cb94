"""Counts and outcomes of index runs. A run whose process died is recognized by other processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

RUNNING, DONE, FAILED, INTERRUPTED, DIED = "running", "done", "failed", "interrupted", "died"
WHY_IT_DIED = "The process ended unexpectedly: it was killed, ran out of memory, or the power failed."
_CLOCK_TOLERANCE_SECONDS = 1.0
"""Two clock readings, one after the other, may differ by this much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCounts:
    """Numbers of files and labels in a run, by outcome.

    - `reused` have bytes that were classified before.
    - `kept` are missing on disk, but keep their entries to be safe; `removed` lost them.
    - `left_out` exist, but a pattern or another rule of the scan leaves them out of the library now.
    - `labels_followed` are labels that followed changed files to their new images, `labels_orphaned` those that did not, and have
      no file any more.
    - `expired` were missing for longer than the grace period, and are deleted.
    """

    scanned: int = 0
    indexed: int = 0
    reused: int = 0
    unchanged: int = 0
    moved: int = 0
    removed: int = 0
    failed: int = 0
    kept: int = 0
    left_out: int = 0
    expired: int = 0
    labels_followed: int = 0
    labels_orphaned: int = 0

    def __add__(self, other: RunCounts) -> RunCounts:
        return RunCounts(**{name: getattr(self, name) + getattr(other, name) for name in COUNT_NAMES})

    @property
    def changed_anything(self) -> bool:
        """Whether the run changed search results."""
        return bool(self.indexed or self.reused or self.moved or self.removed or self.left_out or self.expired)

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> RunCounts:
        """Return the counts of a mapping from names; missing ones are zero, and unknown names are ignored."""
        return RunCounts(**{name: int(counts[name]) for name in COUNT_NAMES if name in counts})

    def nonzero(self) -> dict[str, int]:
        """Return the counts that are not zero, by name."""
        return {name: count for name in COUNT_NAMES if (count := getattr(self, name))}


COUNT_NAMES = tuple(field.name for field in fields(RunCounts))


@dataclass(frozen=True, slots=True)
class WriterInfo:
    """A process that writes. `since` is when it began to, in seconds since the epoch."""

    pid: int
    since: float


def with_dead_runs_marked(
    read: Callable[[], Sequence[RunRecord]], writers: Callable[[], Sequence[WriterInfo]]
) -> list[RunRecord]:
    """Return runs, newest first, with the outcome DIED for those whose process died.

    A run that is still marked as running has died, unless it belongs to a process that writes now. `read` returns the runs. If
    one is marked as running, `writers` is called, and the runs are read again, because it may have ended since.
    """
    runs = read()
    if all(run.outcome != RUNNING for run in runs):
        return list(runs)
    holders = writers()
    ids = {run.id for run in runs}
    return [
        _with_died(run) if run.id in ids and run.outcome == RUNNING and not _belongs_to(run, holders) else run for run in read()
    ]


def _belongs_to(run: RunRecord, holders: Sequence[WriterInfo]) -> bool:
    # Systems reuse process ids: a run that started before the lock was taken belongs to another process.
    return any(run.pid == one.pid and run.started_at >= one.since - _CLOCK_TOLERANCE_SECONDS for one in holders)


def _with_died(run: RunRecord) -> RunRecord:
    return run._replace(outcome=DIED, reason=WHY_IT_DIED)


class RunRecord(NamedTuple):
    """One index run. Times are seconds since the epoch; `outcome` is running, done, failed, interrupted or died.

    `reason` is a sentence that explains the outcome, if there is anything to explain; `pid` is the id of the run's process;
    `models` are the names of its models.
    """

    id: int
    started_at: float
    ended_at: float | None
    roots: tuple[bytes, ...]
    outcome: str
    counts: RunCounts
    reason: str | None = None
    pid: int = 0
    models: tuple[str, ...] = ()


class RunTotals(NamedTuple):
    """Totals of all runs: files indexed and failed, and the number of runs by outcome."""

    indexed: int
    failed: int
    outcomes: Mapping[str, int]
