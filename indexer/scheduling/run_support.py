"""What runs of the schedule and of watching share."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from indexer.bootstrap import AnalyzerFactory, checkpoint_path, open_store
from indexer.domain.errors import MoodexError
from indexer.scheduling.metrics import Metrics, ages, exposition
from indexer.scheduling.scheduler import EventLogger

if TYPE_CHECKING:
    from indexer.analysis.analyzer import Analyzer
    from indexer.ports.progress import Progress
    from indexer.settings import Settings


@dataclass(frozen=True, slots=True)
class RunCallbacks:
    """How long work shows itself: a progress for each run (of a job by name), a journal."""

    progress: Callable[[], Progress]
    tell: EventLogger


class CachedAnalyzerFactory:
    """Opens a reader once, and again only where another is wanted: settings or weights have changed."""

    def __init__(self, factory: AnalyzerFactory) -> None:
        self._factory = factory
        self._key: object = None
        self._reader: Analyzer | None = None

    def __call__(self, settings: Settings) -> Analyzer:
        with suppress(MoodexError, OSError):
            weights = checkpoint_path(settings)
            key = (settings, weights, weights.stat().st_mtime_ns)
            if self._reader is None or key != self._key:
                self._key, self._reader = key, self._factory(settings)
            return self._reader
        return self._factory(settings)


class DedupedWarnings:
    """A progress that does not warn of the same again and again, run by run. Implements `indexer.ports.progress.Progress`."""

    def __init__(self, make: Callable[[], Progress], warn: Callable[[str], None] | None = None) -> None:
        self._make = make
        self._warn = warn
        self._inner = make()
        self._before: set[str] = set()
        self._now: set[str] = set()

    def next(self) -> Progress:
        """For the next run."""
        self._inner = self._make()
        self._before, self._now = self._now, set()
        return self

    def scanning(self, found: int) -> None:
        self._inner.scanning(found)

    def start(self, total: int) -> None:
        self._inner.start(total)

    def advance(self, done: int, failed: int) -> None:
        self._inner.advance(done, failed)

    def finish(self) -> None:
        self._inner.finish()

    def warn(self, sentence: str) -> None:
        self._now.add(sentence)
        if sentence not in self._before:
            (self._warn or self._inner.warn)(sentence)


def collect_metrics(settings: Settings, up: bool) -> str:
    from indexer.ports.store_reader import RunTotals

    if not settings.database.exists():
        return exposition(Metrics(up, RunTotals(0, 0, {}), None, 0))
    with open_store(settings, reading=True) as store:
        ended = [run.ended_at - run.started_at for run in store.runs(20) if run.ended_at is not None]
        jobs = store.jobs()
        failures = {job.name: job.last.failures for job in jobs}
        waiting = store.count_pending([b"/"])
        return exposition(Metrics(up, store.totals(), next(iter(ended), None), waiting, ages(jobs, time.time()), failures))
