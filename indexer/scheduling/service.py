"""The composition root of what works by itself: the schedule and its service, watching, the history of runs."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from indexer.bootstrap import knows, model_registry, open_batch_analyzer, open_store
from indexer.domain.errors import DeviceUnavailable, Interrupted, MoodexError, UsageError
from indexer.domain.jobs import Job, ScheduledJob, Trigger
from indexer.ingest import service as ingest_service
from indexer.scheduling.cron import cron, local_zone
from indexer.scheduling.metrics import MetricsFile
from indexer.scheduling.run_support import CachedAnalyzerFactory, DedupedWarnings, RunCallbacks, collect_metrics
from indexer.scheduling.scheduler import EventLogger, Schedule
from indexer.scheduling.timing import after_dying, back_off, next_due
from indexer.system.signals import interruptible

if TYPE_CHECKING:
    from db.sqlite.store import SqliteStore
    from indexer.domain.reports import Summary
    from indexer.ports.store_reader import RunRecord
    from indexer.settings import Settings
    from indexer.sources.folder_watcher import FolderWatcher
    from indexer.system.signals import InterruptibleWait

_NAME = re.compile(r"[\w.-]{1,64}")
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
STOP_NOTICE = "everything that was indexed is kept"


def add_job(settings: Settings, job: Job) -> Job:
    """Add a job, its paths made absolute. Raises UsageError, ModelUnavailable and DeviceUnavailable; nothing has changed then."""
    _check(job)
    roots = tuple(dict.fromkeys(os.path.abspath(root) for root in job.roots))
    for root in roots:
        if not os.path.exists(root) and not knows(settings, os.path.realpath(root)):
            raise UsageError(f"{os.fsdecode(root)!r} does not exist; nothing was scheduled.")
    model = job.options.model
    if model is not None:
        weights = model_registry(settings).find(model)
        model = str(weights.absolute()) if model.endswith(weights.suffix) else model
    job = replace(job, roots=roots, options=replace(job.options, model=model), added_at=time.time())
    settings.make_home()
    with open_store(settings) as store:
        if not store.add_job(job):
            raise UsageError(f"There is a job {job.name!r} already; remove it first: moodex schedule remove {job.name}")
    return job


def remove_job(settings: Settings, name: str) -> None:
    """Remove a job. Raises UsageError where there is none of that name."""
    if settings.database.exists():
        with open_store(settings) as store:
            if store.remove_job(name):
                return
            known = ", ".join(repr(job.name) for job in store.jobs())
    else:
        known = ""
    raise UsageError(f"There is no job {name!r}; {f'there are {known}' if known else 'there are none at all'}.")


def planned(settings: Settings) -> list[ScheduledJob]:
    """Every job, by name, with when it is due next; one whose process died is said to have died."""
    if not settings.database.exists():
        return []
    from db.writer_lock import writer

    zone, now = local_zone(), time.time()
    with open_store(settings, reading=True) as store:
        jobs = store.jobs()
    if any(job.last.unfinished for job in jobs) and writer(settings.home) is None:
        jobs = [replace(job, last=after_dying(job.last, now)) if job.last.unfinished else job for job in jobs]
    return [ScheduledJob(job, next_due(job, now, zone)) for job in jobs]


def runs(settings: Settings, limit: int) -> list[RunRecord]:
    """The latest runs, newest first; those whose process died are said to have died."""
    from db.writer_lock import writer
    from indexer.domain.runs import with_dead_runs_marked

    if not settings.database.exists():
        return []
    with open_store(settings, reading=True) as store:
        return with_dead_runs_marked(partial(store.runs, limit), partial(writer, settings.home))


def run_due(settings: Settings, hands: RunCallbacks, metrics: Path | None = None) -> int:
    """Run everything that is due, and what only watching would notice, once; the exit code that the worst has earned."""
    with interruptible(STOP_NOTICE), MetricsFile(metrics, partial(collect_metrics, settings), hands.tell) as told:
        schedule = _schedule(settings, hands, told.write)
        _recover(settings, schedule)
        watching = frozenset(job.name for job in schedule.jobs() if job.when.watch)
        return schedule.run_due(watching)


def serve(settings: Settings, hands: RunCallbacks, metrics: Path | None = None) -> NoReturn:
    """Run what is due, and what changes, until asked to stop, whatever goes wrong meanwhile. Raises Interrupted."""
    with (
        interruptible(STOP_NOTICE) as attention,
        ExitStack() as ears,
        MetricsFile(metrics, partial(collect_metrics, settings), hands.tell) as told,
    ):
        schedule = _schedule(settings, hands, told.write)
        _recover(settings, schedule)
        jobs = schedule.jobs()
        zone = f"{schedule.zone}"
        names = ", ".join(job.name for job in jobs) or "none yet; add some with: moodex schedule add"
        hands.tell("info", "serving", f"Jobs in {settings.home}: {names}. Times are in {zone}.", jobs=len(jobs), zone=zone)
        watched: dict[bytes, set[str]] = {}
        ear: FolderWatcher | None = None
        trouble = 0
        while True:
            try:
                now_watched = _watched(schedule.jobs())
                changed = ear.changed() if ear else set()
                if now_watched.keys() != watched.keys():
                    ears.close()
                    ear = None
                    if now_watched:
                        ear = ears.enter_context(open_folder_watcher(settings, sorted(now_watched), None, attention, hands.tell))
                        while not ear.ready:
                            attention.wait(1)
                    changed = set(now_watched)  # by what nobody has heard of until now
                watched = now_watched
                schedule.run_due(frozenset().union(*(watched[root] for root in changed)))
                wait = min([schedule.wait()] + ([ear.wait()] if ear else []))
                trouble = 0
            except Interrupted:
                raise
            except MoodexError as error:
                trouble += 1
                wait = back_off(trouble)
                hands.tell("error", "trouble", f"{error} (tried again in {wait:.0f} s)", retry_in=wait)
            attention.wait(wait)


def zone() -> str:
    """The name of the time zone that schedules are in."""
    return f"{local_zone()}"


def program() -> list[str]:
    """The command line that starts this very program, in absolute words."""
    import sys

    return [os.path.abspath(sys.executable), str(Path(__file__).resolve().parents[2] / "cli.py")]


def _check(job: Job) -> None:
    if not _NAME.fullmatch(job.name):
        raise UsageError(f"{job.name!r} is no name for a job; use up to 64 letters, digits, dots, dashes and underscores.")
    if job.when.cron is not None and job.when.every is not None:
        raise UsageError("Say either --cron or --every, not both.")
    if job.when == Trigger():
        raise UsageError("Say when: --cron '0 3 * * *', --every 6h, or --watch for whenever something changes.")
    if job.when.cron is not None:
        cron(job.when.cron, local_zone())
    if job.options.device is not None and not _DEVICE.fullmatch(job.options.device):
        raise DeviceUnavailable(f"{job.options.device!r} is not a device; choose auto, cpu, cuda, cuda:N or mps.")


def _schedule(settings: Settings, hands: RunCallbacks, after: Callable[[], None]) -> Schedule:
    reader = CachedAnalyzerFactory(open_batch_analyzer)
    sparing = DedupedWarnings(hands.progress, lambda sentence: hands.tell("debug", "warning", sentence))

    def work(job: Job) -> Summary:
        from indexer.ingest.run import IndexOptions
        from indexer.ports.sources import ScanOptions

        told = job.options
        own = replace(
            settings,
            model=told.model or settings.model,
            faces=told.faces or settings.faces,
            device=told.device or settings.device,
            batch_size=told.batch_size or settings.batch_size,
            workers=told.workers or settings.workers,
        )
        options = IndexOptions(ScanOptions(told.exclude, told.follow_symlinks), idle_runs=not job.when.watch)
        # A model is kept ready where the next change may come any second, and not from one night to the next.
        return ingest_service.index(own, job.roots, options, sparing.next(), reader if job.when.watch else open_batch_analyzer)

    @contextmanager
    def jobs() -> Iterator[SqliteStore]:
        settings.make_home()
        with open_store(settings) as store:
            yield store

    return Schedule(jobs, work, time.time, local_zone(), hands.tell, after)


def _recover(settings: Settings, schedule: Schedule) -> None:
    from db.writer_lock import writer

    settings.make_home()
    if writer(settings.home) is None:
        schedule.recover()


def _watched(jobs: Sequence[Job]) -> dict[bytes, set[str]]:
    """Which jobs want to know of changes below which folder."""
    found: dict[bytes, set[str]] = {}
    for job in jobs:
        for root in job.roots if job.when.watch else ():
            found.setdefault(os.path.realpath(root), set()).add(job.name)
    return found


def open_folder_watcher(
    settings: Settings, roots: Sequence[bytes], poll: float | None, attention: InterruptibleWait, tell: EventLogger
) -> FolderWatcher:
    from indexer.sources.folder_watcher import FolderWatcher

    own = os.path.realpath(os.fsencode(settings.home))
    return FolderWatcher(roots, own, poll, attention.wake, partial(tell, "warning", "polling"), time.monotonic)
