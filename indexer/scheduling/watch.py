"""Watching: index whatever changes, until asked to stop."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from indexer.bootstrap import AnalyzerFactory, knows, open_batch_analyzer
from indexer.domain.errors import Interrupted, MoodexError, WriterBusy
from indexer.ingest import service as ingest_service
from indexer.scheduling.run_support import CachedAnalyzerFactory, DedupedWarnings, RunCallbacks
from indexer.scheduling.service import STOP_NOTICE, open_folder_watcher
from indexer.scheduling.timing import back_off
from indexer.system.signals import interruptible

if TYPE_CHECKING:
    from indexer.domain.reports import Summary
    from indexer.ingest.run import IndexOptions
    from indexer.settings import Settings


_TURN = 1.0
"""Seconds after which watching tries again where somebody else is writing."""


def watch(
    settings: Settings,
    paths: Sequence[bytes],
    options: IndexOptions,
    poll: float | None,
    hands: RunCallbacks,
    told: Callable[[Summary], None],
    reader_factory: AnalyzerFactory = open_batch_analyzer,
) -> NoReturn:
    """Index, then what changes within seconds, until asked to stop. `told` hears of each run that had something to do.

    Others get their turn at writing between runs. Raises UsageError for paths that do not exist, and Interrupted.
    """
    from indexer.ingest.roots import split_available_roots

    here, away = split_available_roots(paths, partial(knows, settings))
    roots = [*here, *away]
    reader = CachedAnalyzerFactory(reader_factory)
    sparing = DedupedWarnings(hands.progress)
    with interruptible(STOP_NOTICE) as attention, open_folder_watcher(settings, roots, poll, attention, hands.tell) as ear:
        while not ear.ready:
            attention.wait(1)
        changed, failures, first, failed = set(roots), 0, True, 0
        while True:
            try:
                summary = ingest_service.index(
                    settings,
                    sorted(changed),
                    replace(options, idle_runs=first, force=options.force and first),
                    sparing.next(),
                    reader,
                )
                if first or _did_something(summary) or summary.failed != failed:
                    told(summary)
                if first:
                    names = ", ".join(repr(os.fsdecode(root)) for root in roots)
                    hands.tell("info", "watching", f"Watching {names}; Ctrl-C stops.", roots=list(map(os.fsdecode, roots)))
                changed, failures, first, failed = set(), 0, False, summary.failed
            except WriterBusy as busy:
                if not failures:
                    hands.tell("warning", "waiting", str(busy))
                failures += 1
                attention.wait(_TURN)
            except Interrupted:
                raise
            except MoodexError as error:
                if first:
                    raise
                failures += 1
                hands.tell("error", "trouble", f"{error} (tried again in {back_off(failures):.0f} s)")
                attention.wait(back_off(failures))
            while not (changed := changed | _indexable(settings, ear.changed())):
                attention.wait(ear.wait())


def _indexable(settings: Settings, roots: set[bytes]) -> set[bytes]:
    """Those that there is anything to do about: a folder that went before anything in it was indexed is no error here."""
    return {root for root in roots if os.path.exists(root) or knows(settings, root)}


def _did_something(summary: Summary) -> bool:
    return bool(summary.indexed or summary.reused or summary.moved or summary.removed or summary.expired)
