"""Watching: index whatever changes, until asked to stop."""

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
from indexer.scheduling.timing import back_off
from indexer.system.events import log_event
from indexer.system.signals import interruptible

if TYPE_CHECKING:
    from indexer.domain.reports import Summary
    from indexer.ingest.run import IndexRequest
    from indexer.library import Library
    from indexer.ports.progress import Progress

_WRITER_RETRY_SECONDS = 1.0
"""Seconds after which watching tries again while another process writes."""


def watch(
    library: Library,
    paths: Sequence[bytes],
    request: IndexRequest,
    poll: float | None,
    open_progress: Callable[[], Progress],
    report: Callable[[Summary], None],
) -> NoReturn:
    """Index, then whatever changes within seconds, until asked to stop. `report` is called for each run with something to do,
    `open_progress` for every run.

    Other processes can write between runs. Raises UsageError for paths that do not exist, and Interrupted.
    """
    roots = split_available_roots(paths, library.source, library.knows).all()
    loop = _WatchLoop(CachedAnalyzerFactory().apply_to(library), roots, request, report, DedupedWarnings(open_progress))
    with (
        interruptible(STOP_NOTICE) as wait,
        open_folder_watcher(library, roots, poll, wait) as watcher,
    ):
        while not watcher.ready:
            wait.wait(1)
        while True:
            while pause := loop.step():
                wait.wait(pause)
                loop.add_changes(watcher.changed())
            while not loop.add_changes(watcher.changed()):
                wait.wait(watcher.wait())


@dataclass(slots=True)
class _WatchLoop:
    """The runs of watching. The first indexes all roots, and raises what goes wrong; later ones are tried again."""

    library: Library
    roots: Sequence[bytes]
    request: IndexRequest
    report: Callable[[Summary], None]
    progress: DedupedWarnings
    failures: int = 0
    failed_files: int = 0
    is_first: bool = True
    changed: frozenset[bytes] = frozenset()

    def __post_init__(self) -> None:
        self.changed = frozenset(self.roots)

    def step(self) -> float:
        """Index what has changed; return 0, or the seconds after which to try again."""
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
            pause = back_off(self.failures)
            log_event("error", "trouble", f"{error} (retry in {pause:.0f} s)")
            return pause
        self.changed, self.failures, self.is_first = frozenset(), 0, False
        return 0.0

    def add_changes(self, roots: set[bytes]) -> bool:
        """Note roots below which something changed; return whether there is anything to index.

        A folder that went before anything in it was indexed is not an error here.
        """
        self.changed |= {root for root in roots if self.library.source.exists(root) or self.library.knows(root)}
        return bool(self.changed)

    def _index(self) -> None:
        request = replace(self.request, force=self.request.force and self.is_first)
        summary = ingest_service.index(
            self.library, sorted(self.changed), request, self.progress.next(), record_idle=self.is_first
        )
        if self.is_first or summary.changed_anything or summary.failed != self.failed_files:
            self.report(summary)
        if self.is_first:
            names = list(map(os.fsdecode, self.roots))
            log_event("info", "watching", f"Watching {', '.join(map(repr, names))}; Ctrl-C stops.", roots=names)
        self.failed_files = summary.failed
