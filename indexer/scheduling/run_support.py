"""Parts that the schedule and watch mode share: cached models, warnings without repetition, watchers, metrics."""

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
from indexer.scheduling.metrics import Metrics, exposition, success_ages
from indexer.system.events import log_event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from indexer.library import Library
    from indexer.ports.analyzer import Analyzer
    from indexer.ports.progress import Progress
    from indexer.ports.sources import Watcher
    from indexer.settings import Settings
    from indexer.system.signals import InterruptibleWait

STOP_NOTICE = "everything that was indexed is kept"


class CachedAnalyzerFactory:
    """Opens an analyzer for some settings, and returns the same one until the weights change."""

    def __init__(self) -> None:
        self._kept: dict[Settings, tuple[object, Analyzer]] = {}

    def apply_to(self, library: Library) -> Library:
        """Return the library with this factory as its `open_batch_analyzer`; also if it is reopened with another model."""

        def reopen(settings: Settings) -> Library:
            return self.apply_to(library.reopen(settings))

        return replace(library, open_batch_analyzer=partial(self._open, library), reopen=reopen)

    def _open(self, library: Library) -> Analyzer:
        with suppress(MoodexError, OSError):
            weights = library.models.weights()
            stamp = (weights, weights.stat().st_mtime_ns)
            kept = self._kept.get(library.settings)
            if kept is None or kept[0] != stamp:
                kept = self._kept[library.settings] = (stamp, library.open_batch_analyzer())
            return kept[1]
        return library.open_batch_analyzer()


class DedupedWarnings:
    """Implements `indexer.ports.progress.Progress`, without warnings that the previous run gave as well.

    `open_progress` opens the progress of one run. Warnings go to `warn`, or else to that progress.
    """

    def __init__(self, open_progress: Callable[[], Progress], warn: Callable[[str], None] | None = None) -> None:
        self._open_progress = open_progress
        self._warn = warn
        self._inner = open_progress()
        self._previous_warnings: set[str] = set()
        self._warnings: set[str] = set()

    def next_run(self) -> Progress:
        """Return the progress of the next run."""
        self._inner = self._open_progress()
        self._previous_warnings, self._warnings = self._warnings, set()
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
        self._warnings.add(sentence)
        if sentence not in self._previous_warnings:
            (self._warn or self._inner.warn)(sentence)


def open_folder_watcher(
    library: Library, roots: Sequence[bytes], poll: float | None, wait: InterruptibleWait
) -> AbstractContextManager[Watcher]:
    """Watch folders; each change ends the current `wait`. `poll` is the interval of polling in seconds; None uses events."""
    own_folder = library.source.real_path(os.fsencode(library.settings.home))
    return library.source.watch(roots, own_folder, poll, wait.wake, partial(log_event, "warning", "polling"))


def collect_metrics(library: Library, up: bool | None) -> str:
    """Return the metrics of a library in Prometheus's text format. `up` is whether its scheduler is running, None if unknown."""
    if not library.database.exists():
        return exposition(Metrics(up, RunTotals(0, 0, {}), None, 0))
    with library.database.open(reading=True) as store:
        durations = [run.ended_at - run.started_at for run in store.runs(20) if run.ended_at is not None]
        jobs = store.jobs()
        metrics = Metrics(
            up=up,
            totals=store.totals(),
            last_run_seconds=durations[0] if durations else None,
            pending_files=store.count_pending([b"/"]),
            success_ages=success_ages(jobs, time.time()),
            failures={job.name: job.last.failures for job in jobs},
        )
    return exposition(metrics)
