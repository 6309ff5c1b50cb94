"""Scheduled jobs, the service that runs them, and the history of runs."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from indexer.domain.errors import DeviceUnavailable, Interrupted, MoodexError, UsageError
from indexer.domain.jobs import Job, ScheduledJob, Trigger
from indexer.domain.runs import with_dead_runs_marked
from indexer.ingest import service as ingest_service
from indexer.ingest.run import IndexRequest
from indexer.scheduling.cron import local_zone, parse_cron
from indexer.scheduling.metrics import MetricsFile
from indexer.scheduling.run_support import (
    STOP_NOTICE,
    CachedAnalyzerFactory,
    DedupedWarnings,
    collect_metrics,
    open_folder_watcher,
)
from indexer.scheduling.scheduler import Schedule
from indexer.scheduling.timing import after_death, next_due, retry_delay
from indexer.system.events import log_event
from indexer.system.ignore_rules import check_exclude_patterns
from indexer.system.paths import absolute_path
from indexer.system.signals import interruptible
from indexer.system.text import named

if TYPE_CHECKING:
    from indexer.domain.reports import Summary
    from indexer.domain.runs import RunRecord
    from indexer.library import Library
    from indexer.ports.progress import Progress
    from indexer.ports.sources import Watcher
    from indexer.ports.store import Store
    from indexer.settings import Settings
    from indexer.system.signals import InterruptibleWait

OpenProgress = Callable[[], "Progress"]
"""Opens the progress of one run."""

_NAME = re.compile(r"[\w.-]{1,64}")
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def add_job(library: Library, job: Job) -> Job:
    """Add a job, with absolute paths.

    Raises UsageError, ModelUnavailable and DeviceUnavailable, without any change.
    """
    _check(job)
    roots = tuple(dict.fromkeys(map(absolute_path, job.roots)))
    missing = {library.source.real_path(root): root for root in roots if not library.source.exists(root)}
    if unknown := missing.keys() - library.known(missing.keys()):
        raise UsageError(f"{os.fsdecode(missing[min(unknown)])!r} does not exist; nothing was scheduled.")
    options = job.options
    model = None if options.model is None else _lasting_name(library, options.model)
    further = tuple(_lasting_name(library, name) for name in options.further_models)
    job = replace(job, roots=roots, options=replace(options, model=model, further_models=further), added_at=time.time())
    library.settings.make_home()
    with library.database.open() as store:
        if not store.add_job(job):
            raise UsageError(f"There is a job {job.name!r} already; remove it first: moodex schedule remove {job.name}")
    return job


def _lasting_name(library: Library, model: str) -> str:
    """Return the name of a model, or the absolute path of its file if it is given by path. Raises ModelUnavailable."""
    weights = library.models.find(model)
    return str(weights.absolute()) if model.endswith(weights.suffix) else model


def remove_job(library: Library, name: str) -> None:
    """Remove a job. Raises UsageError if there is no job of that name."""
    names = ""
    if library.database.exists():
        with library.database.open() as store:
            if store.remove_job(name):
                return
            names = named([repr(job.name) for job in store.jobs()])
    raise UsageError(f"There is no job {name!r}; {f'the jobs are {names}' if names else 'no jobs exist'}.")


def list_jobs(library: Library) -> list[ScheduledJob]:
    """Return every job with its next due time, by name. A job whose process died is reported as died."""
    if not library.database.exists():
        return []
    zone, now = local_zone(), time.time()
    with library.database.open(reading=True) as store:
        jobs = store.jobs()
    if any(job.last.unfinished for job in jobs) and not library.database.current_writers():
        jobs = [replace(job, last=after_death(job.last, now)) if job.last.unfinished else job for job in jobs]
    return [ScheduledJob(job, next_due(job, now, zone)) for job in jobs]


def list_runs(library: Library, limit: int) -> list[RunRecord]:
    """Return the latest runs, newest first. A run whose process died is reported as died."""
    if not library.database.exists():
        return []
    with library.database.open(reading=True) as store:
        return with_dead_runs_marked(partial(store.runs, limit), library.database.current_writers)


def run_due(library: Library, open_progress: OpenProgress, metrics: Path | None = None) -> int:
    """Run every due job and every watching job once; return the exit code, see `Schedule.run_due`."""
    with interruptible(STOP_NOTICE), MetricsFile(metrics, partial(collect_metrics, library)) as metrics_file:
        schedule = _schedule(library, open_progress, metrics_file.write)
        _recover(library, schedule)
        watching = frozenset(job.name for job in schedule.jobs() if job.when.watch)
        return schedule.run_due(watching)


def serve(library: Library, open_progress: OpenProgress, metrics: Path | None = None) -> NoReturn:
    """Run jobs when they are due or their folders change, until a signal stops it. Raises Interrupted.

    Errors are logged, and the jobs are retried.
    """
    with (
        interruptible(STOP_NOTICE) as wait,
        ExitStack() as watchers,
        MetricsFile(metrics, partial(collect_metrics, library)) as metrics_file,
    ):
        schedule = _schedule(library, open_progress, metrics_file.write)
        _recover(library, schedule)
        jobs = schedule.jobs()
        zone = f"{schedule.zone}"
        names = named([job.name for job in jobs]) or "none yet; add some with: moodex schedule add"
        home = library.settings.home
        log_event("info", "serving", f"Jobs in {home}: {names}. Times are in {zone}.", jobs=len(jobs), zone=zone)
        loop = _ServiceLoop(library, schedule, wait, watchers)
        while True:
            wait.wait(loop.step())


def zone_name() -> str:
    """Return the name of the time zone of cron expressions."""
    return f"{local_zone()}"


def program_command() -> list[str]:
    """Return the words of a command line that starts moodex, with absolute paths."""
    return [os.path.abspath(sys.executable), str(Path(__file__).resolve().parents[2] / "cli.py")]


def _check(job: Job) -> None:
    if not _NAME.fullmatch(job.name):
        raise UsageError(f"{job.name!r} is not a valid job name; use up to 64 letters, digits, dots, dashes and underscores.")
    if job.when.cron is not None and job.when.every is not None:
        raise UsageError("Give either --cron or --every, not both.")
    if job.when == Trigger():
        raise UsageError("The job has no schedule. Add --cron '0 3 * * *', --every 6h, or --watch.")
    if job.when.cron is not None:
        parse_cron(job.when.cron, local_zone())  # raises UsageError
    check_exclude_patterns(job.options.exclude)  # raises UsageError
    if job.options.device is not None and not _DEVICE.fullmatch(job.options.device):
        raise DeviceUnavailable(f"Unknown device {job.options.device!r}; choose auto, cpu, cuda, cuda:N or mps.")


@dataclass(slots=True)
class _ServiceLoop:
    """The loop of the service: detect changes, run due jobs, retry after errors."""

    library: Library
    schedule: Schedule
    wait: InterruptibleWait
    watchers: ExitStack
    watcher: Watcher | None = None
    job_names: dict[bytes, set[str]] = field(default_factory=dict)
    failures: int = 0

    def step(self) -> float:
        """Run due jobs and jobs with changes; return the seconds until the next step."""
        try:
            changed = self._changed_roots()
            self.schedule.run_due(frozenset().union(*(self.job_names[root] for root in changed)))
            pause = min([self.schedule.wait()] + ([self.watcher.wait()] if self.watcher else []))
            self.failures = 0
        except Interrupted:
            raise
        except MoodexError as error:
            self.failures += 1
            pause = retry_delay(self.failures)
            log_event("error", "trouble", f"{error} (retry in {pause:.0f} s)", retry_in=pause)
        return pause

    def _changed_roots(self) -> set[bytes]:
        """Return the watched roots below which something changed; all of them if other roots are watched than before."""
        job_names = _watching_jobs(self.library, self.schedule.jobs())
        changed = self.watcher.changed() if self.watcher else set()
        if job_names.keys() != self.job_names.keys():
            self.watchers.close()
            self.watcher = None
            if job_names:
                watcher = open_folder_watcher(self.library, sorted(job_names), None, self.wait)
                self.watcher = self.watchers.enter_context(watcher)
                while not self.watcher.ready:
                    self.wait.wait(1)
            changed = set(job_names)  # nothing detected their changes until now
        self.job_names = job_names
        return changed


def _watching_jobs(library: Library, jobs: Sequence[Job]) -> dict[bytes, set[str]]:
    """Return the names of the watching jobs by root."""
    names: dict[bytes, set[str]] = {}
    for job in jobs:
        for root in job.roots if job.when.watch else ():
            names.setdefault(library.source.real_path(root), set()).add(job.name)
    return names


def _schedule(library: Library, open_progress: OpenProgress, after_run: Callable[[], None]) -> Schedule:
    analyzers = CachedAnalyzerFactory()
    progress = DedupedWarnings(open_progress, lambda sentence: log_event("debug", "warning", sentence))

    def index(job: Job) -> Summary:
        job_library = library.reopen(_job_settings(library, job))
        if job.when.watch:
            # Keep the model in memory: the next change may come any second. A nightly job loads it again.
            job_library = analyzers.apply_to(job_library)
        options = job.options
        request = IndexRequest(options.exclude, options.follow_symlinks, further_models=options.further_models)
        return ingest_service.index(job_library, job.roots, request, progress.next_run(), record_idle=not job.when.watch)

    @contextmanager
    def open_jobs() -> Iterator[Store]:
        library.settings.make_home()
        with library.database.open() as store:
            yield store

    return Schedule(open_jobs, index, time.time, local_zone(), after_run)


def _job_settings(library: Library, job: Job) -> Settings:
    """Return the settings of the library, overridden by the options of the job."""
    settings, options = library.settings, job.options
    return replace(
        settings,
        model=options.model or settings.model,
        faces=options.faces or settings.faces,
        device=options.device or settings.device,
        batch_size=options.batch_size or settings.batch_size,
        workers=options.workers or settings.workers,
    )


def _recover(library: Library, schedule: Schedule) -> None:
    library.settings.make_home()
    if not library.database.current_writers():
        schedule.recover()
