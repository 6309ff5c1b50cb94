"""Watch mode: index changes until a signal stops it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

from indexer.domain.errors import Interrupted, MoodexError, WriterBusy
from indexer.ingest import service as ingest_service
from indexer.ingest.roots import split_available_roots
from indexer.scheduling.run_support import (
    STOP_NOTICE,
    CachedAnalyzerFactory,
    DedupedWarnings,
    open_folder_watcher,
)
from indexer.scheduling.timing import retry_delay
from indexer.system.events import log_event
from indexer.system.signals import interruptible
from indexer.system.text import named

if TYPE_CHECKING:
    from indexer.domain.reports import Summary
    from indexer.ingest.run import IndexRequest
    from indexer.library import Library
    from indexer.ports.progress import Progress

_WRITER_RETRY_SECONDS = 1.0
"""Delay of the retry while another process is writing."""


def watch(
    library: Library,
    paths: Sequence[bytes],
    request: IndexRequest,
    poll: float | None,
    open_progress: Callable[[], Progress],
    report: Callable[[Summary], None],
) -> NoReturn:
    """Index paths, then index each change within seconds, until a signal stops it.

    - `poll`: interval of polling in seconds. None uses events of the operating system.
    - `open_progress`: opens the progress of one run.
    - `report`: called after the first run, and after each later run that changed anything or whose number of failures differs.

    Other processes can write between runs. Raises UsageError for paths that do not exist, and Interrupted.
    """
    roots = split_available_roots(paths, library.source, library.known).all()
    loop = _WatchLoop(CachedAnalyzerFactory().apply_to(library), roots, request, report, DedupedWarnings(open_progress))
    with (
        interruptible(STOP_NOTICE) as wait,
        open_folder_watcher(library, roots, poll, wait) as watcher,
    ):
        while not watcher.ready:
            wait.wait(1)
        while True:
            wait.wait(0)  # a signal ends the watch even if every run takes longer than `poll`, so that none of them is waited for
            while pause := loop.step():
                wait.wait(pause)
                loop.add_changes(watcher.changed())
            while not loop.add_changes(watcher.changed()):
                wait.wait(watcher.wait())


@dataclass(slots=True)
class _WatchLoop:
    """The runs of watch mode.

    The first run indexes all roots, and raises its errors. A later run that fails is retried.
    """

    library: Library
    roots: Sequence[bytes]
    request: IndexRequest
    report: Callable[[Summary], None]
    progress: DedupedWarnings
    failures: int = 0
    failed_files: int = 0
    is_first: bool = True
    changed_roots: frozenset[bytes] = frozenset()

    def __post_init__(self) -> None:
        self.changed_roots = frozenset(self.roots)

    def step(self) -> float:
        """Index the changed roots; return 0, or the seconds until a retry."""
        try:
            self._index()
        except WriterBusy as busy:
            if not self.failures:
                log_event("warning", "waiting", str(busy))
            self.failures += 1
            return _WRITER_RETRY_SECONDS
        except Interrupted:
            raise
        except MoodexError as error:
            if self.is_first:
                raise
            self.failures += 1
            pause = retry_delay(self.failures)
            log_event("error", "trouble", f"{error} (retry in {pause:.0f} s)")
            return pause
        self.changed_roots, self.failures, self.is_first = frozenset(), 0, False
        return 0.0

    def add_changes(self, roots: set[bytes]) -> bool:
        """Add roots below which something changed; return whether there is anything to index.

        Ignores roots that were removed before any of their files were indexed: for the next run they would be an error.
        """
        existing = {root for root in roots if self.library.source.exists(root)}
        self.changed_roots |= existing | self.library.known(roots - existing)
        return bool(self.changed_roots)

    def _index(self) -> None:
        request = self.request if self.is_first else replace(self.request, force=False, verify=False)
        summary = ingest_service.index(
            self.library, sorted(self.changed_roots), request, self.progress.next_run(), record_idle=self.is_first
        )
        if self.is_first or summary.changed_anything or summary.failed != self.failed_files:
            self.report(summary)
        if self.is_first:
            names = list(map(os.fsdecode, self.roots))
            log_event("info", "watching", f"Watching {named(list(map(repr, names)))}; Ctrl-C stops.", roots=names)
        self.failed_files = summary.failed
