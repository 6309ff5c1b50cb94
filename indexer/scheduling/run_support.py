"""What runs of the schedule and of watching share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from indexer.domain.errors import MoodexError
from indexer.domain.runs import RunTotals
from indexer.scheduling.metrics import Metrics, ages, exposition
from indexer.system.events import log_event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from indexer.library import Library
    from indexer.ports.analyzer import Analyzer
    from indexer.ports.progress import Progress
    from indexer.ports.sources import Watcher
    from indexer.system.signals import InterruptibleWait

STOP_NOTICE = "everything that was indexed is kept"


class CachedAnalyzerFactory:
    """Opens an analyzer once, and again only if settings or weights have changed."""

    def __init__(self) -> None:
        self._key: object = None
        self._analyzer: Analyzer | None = None

    def apply_to(self, library: Library) -> Library:
        """Return the same library, which opens its analyzer for many images here."""
        return replace(library, open_batch_analyzer=partial(self._open, library))

    def _open(self, library: Library) -> Analyzer:
        with suppress(MoodexError, OSError):
            weights = library.models.weights()
            key = (library.settings, weights, weights.stat().st_mtime_ns)
            if self._analyzer is None or key != self._key:
                self._key, self._analyzer = key, library.open_batch_analyzer()
            return self._analyzer
        return library.open_batch_analyzer()


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


def open_folder_watcher(
    library: Library, roots: Sequence[bytes], poll: float | None, wait: InterruptibleWait
) -> AbstractContextManager[Watcher]:
    """Watch folders; what changes wakes whoever waits."""
    own = library.source.real_path(os.fsencode(library.settings.home))
    return library.source.watch(roots, own, poll, wait.wake, partial(log_event, "warning", "polling"))


def collect_metrics(library: Library, up: bool) -> str:
    """Describe the state of a library in Prometheus' text format. `up` is whether its scheduler runs."""
    if not library.database.exists():
        return exposition(Metrics(up, RunTotals(0, 0, {}), None, 0))
    with library.database.open(reading=True) as store:
        ended = [run.ended_at - run.started_at for run in store.runs(20) if run.ended_at is not None]
        jobs = store.jobs()
        failures = {job.name: job.last.failures for job in jobs}
        waiting = store.count_pending([b"/"])
        return exposition(Metrics(up, store.totals(), next(iter(ended), None), waiting, ages(jobs, time.time()), failures))
