"""One index run: scan the roots, analyze new and changed files, commit batch by batch.

The queue is in the store, not in memory: the scan records the files to analyze, and the workers read them from there. So a run of
any size needs the same memory, and an interrupted run resumes where it stopped.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from indexer.domain.errors import Interrupted, MoodexError
from indexer.domain.path_set import PathSet
from indexer.domain.reports import Summary
from indexer.domain.runs import COUNT_NAMES, DONE, FAILED, INTERRUPTED, RunCounts
from indexer.imaging.further_formats import readable_extensions
from indexer.ingest.coordinator import DigestClaims
from indexer.ingest.root_survey import RootSurvey, SurveyContext, Surveyor
from indexer.ingest.workers import Queue, Worker, work_through
from indexer.ports.sources import ScanOptions
from indexer.ports.store_writer import RunModel
from indexer.system.text import joined

if TYPE_CHECKING:
    from indexer.ingest.analyzer_group import AnalyzerGroup
    from indexer.ingest.roots import Roots
    from indexer.ports.executor import OpenExecutor
    from indexer.ports.progress import Progress
    from indexer.ports.sources import ImageSource
    from indexer.ports.store_writer import StoreWriter

_MAX_WARNINGS = 10
"""Missing roots that are named one by one: users may name thousands of files."""
_MAX_MISSING_SHARE = 0.5
"""A scan that misses more than this share of a root's files suggests an unmounted disk, not a deletion."""


@dataclass(frozen=True, slots=True)
class IndexRequest:
    """The options of a run.

    - `exclude`: gitignore patterns below each root.
    - `one_file_system`: skip folders on other file systems than that of their root.
    - `prune`: None removes the entries of missing files if that looks safe, True always, False never.
    - `force`: analyze every file again.
    - `verify`: read every file again, and analyze those with other content.
    - `further_models`: models, besides the one in use, that analyze the same images.
    """

    exclude: tuple[str, ...] = ()
    follow_symlinks: bool = False
    one_file_system: bool = False
    prune: bool | None = None
    force: bool = False
    verify: bool = False
    further_models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunContext:
    """The environment of a run.

    - `own_folder`: moodex's data folder, which is not scanned.
    - `always_exclude`: gitignore patterns for every run, which ignore files and the request override.
    - `grace_seconds`: how long the entries of missing files are kept.
    - `record_idle`: whether a run that finds nothing to do is recorded.
    - `compare`: called once all images are analyzed; compares their predictions with each other.
    - `moved`: number of files whose paths changed before the run, because their root had moved.
    - `work_on_cluster`: analyzes the pending files of a queue on a cluster, and yields the counts of each commit; its second
      argument is whether images are classified again. None without a cluster.
    """

    source: ImageSource
    open_executor: OpenExecutor
    own_folder: bytes
    always_exclude: tuple[str, ...]
    workers: int
    grace_seconds: float
    record_idle: bool
    compare: Callable[[], None]
    moved: int = 0
    work_on_cluster: Callable[[Queue, bool], Iterator[RunCounts]] | None = None


def index(
    roots: Roots,
    store: StoreWriter,
    analyzers: AnalyzerGroup,
    request: IndexRequest,
    context: RunContext,
    progress: Progress,
    check_stop: Callable[[], None],
) -> Summary:
    """Index roots (absolute, real, none inside another) with some analyzers. Missing roots keep their entries unless pruned.

    `check_stop` is called between steps and raises to end the run early. Committed batches stay, and the record of the run has
    its outcome.
    """
    started = time.monotonic()
    classifiers = [analyzer.classifier for analyzer in analyzers.analyzers]
    first, *others = (
        RunModel(store.register_model(analyzer.classifier.card), analyzer.detector_key) for analyzer in analyzers.analyzers
    )
    run_id = store.begin_run(roots.all(), first.model_id, first.detector, others)
    run = _Run(store, run_id, request, context, progress, check_stop)
    outcome, reason = FAILED, None
    idle = False
    try:
        idle = run.index(roots, analyzers)
        context.compare()
        outcome, reason = DONE, " ".join(islice(run.warnings.values(), _MAX_WARNINGS)) or None
    except (Interrupted, KeyboardInterrupt) as stop:
        outcome, reason = INTERRUPTED, str(stop) or "Stopped at once."
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, MoodexError) else f"{type(error).__name__}: {error}"
        raise
    finally:
        progress.finish()
        if idle and not context.record_idle:
            store.forget_run(run_id)
        else:
            store.finish_run(run_id, outcome, run.counts, reason)
    seconds = time.monotonic() - started
    return Summary(
        **{name: getattr(run.counts, name) for name in COUNT_NAMES},
        seconds=round(seconds, 3),
        images_per_second=round(_analyzed(run.counts) / seconds, 2) if seconds else 0.0,
        device=joined([classifier.device for classifier in classifiers]),
        engine=joined([classifier.engine for classifier in classifiers]),
        model=joined([classifier.card.name for classifier in classifiers]),
        away=tuple(map(os.fsdecode, run.warnings)),
        system_entries={os.fsdecode(name): count for name, count in run.system_entries.most_common()},
        skipped=dict(run.skipped.most_common()),
        not_scanned=len(run.unlisted),
        unlisted={os.fsdecode(path): reason for path, reason in islice(run.unlisted.items(), _MAX_WARNINGS)},
    )


def _analyzed(counts: RunCounts) -> int:
    """Return the number of files that a run read: it classified their images, knew them already, or failed."""
    return counts.indexed + counts.reused + counts.moved + counts.failed


@dataclass(slots=True)
class _Run:
    """The steps of one run.

    `warnings` are sentences about roots that look unmounted, by root; `system_entries` counts what was left out because systems
    use it, by name, and `skipped` the other files that the scan passed over, by kind. `unlisted` says why folders could not be
    scanned.
    """

    store: StoreWriter
    id: int
    request: IndexRequest
    context: RunContext
    progress: Progress
    check_stop: Callable[[], None]
    counts: RunCounts = field(default_factory=RunCounts)
    skipped: Counter[str] = field(default_factory=Counter)
    warnings: dict[bytes, str] = field(default_factory=dict)
    system_entries: Counter[bytes] = field(default_factory=Counter)
    unlisted: dict[bytes, str] = field(default_factory=dict)

    def index(self, roots: Roots, analyzers: AnalyzerGroup) -> bool:
        """Scan, analyze, and update missing files; return whether there was nothing to do."""
        known_roots = self.store.root_paths()
        # Even if this run is killed, its roots are listed, and they follow a move.
        self.store.record_roots(sorted(set(roots.available).difference(known_roots)), [])
        surveyor = Surveyor(self._survey_context(roots), known_roots, roots)
        surveys = list(surveyor.survey())
        self.system_entries, self.skipped, self.unlisted = surveyor.system_entries, surveyor.skipped, surveyor.unlisted
        for survey in surveys:
            self.counts += RunCounts(scanned=survey.scanned, unchanged=survey.unchanged, failed=survey.failed)
        pending = self.store.count_pending(PathSet(roots.available)) if roots.available else 0
        self.progress.start(pending)
        if pending:
            self._analyze(roots.available, analyzers)
        moved = self._detect_moves(roots, surveys, pending)
        surveys += surveyor.survey_moved(moved.values())
        for survey in surveys:
            self.counts += self._leave_out(survey) + self.mark_missing(survey, sorted(survey.missing.keys() - moved.keys()))
        self._warn_of_the_rest()
        self.counts += RunCounts(expired=self.store.expire(time.time() - self.context.grace_seconds))
        self.store.record_roots(roots.available, surveyor.absorbed)
        unread = min(self.context.moved, self.counts.unchanged)
        read = min(self.context.moved - unread, self.counts.reused)  # a move of single files changes their change time
        self.counts += RunCounts(moved=unread + read, unchanged=-unread, reused=-read)
        has_changes = pending or moved or self.context.moved or any(survey.changes for survey in surveys)
        return not (has_changes or self.counts.removed or self.counts.left_out or self.counts.expired)

    def _survey_context(self, roots: Roots) -> SurveyContext:
        options = ScanOptions(
            exclude=self.request.exclude,
            always_exclude=self.context.always_exclude,
            follow_symlinks=self.request.follow_symlinks,
            own_folder=self.context.own_folder,
            one_file_system=self.request.one_file_system,
            extensions=readable_extensions(),
        )
        named = frozenset(path for path in self.store.root_paths() if not options.find_at_any_size(os.path.basename(path)))
        options = replace(options, named=named)
        read_all = self.request.force or self.request.verify
        return SurveyContext(self.store, self.id, self.context.source, options, read_all, self.progress, self.check_stop)

    def _detect_moves(self, roots: Roots, surveys: Sequence[RootSurvey], pending: int) -> dict[int, bytes]:
        """Delete missing files that moved, also from outside of the roots; return the paths where they were, by id."""
        missing = {file_id: path for survey in surveys for file_id, path in survey.missing.items()}
        if pending:
            available = PathSet(roots.available)
            for file_id, path in self.store.earlier_copies(self.id):
                if not available.covers(path) and not self.context.source.has_file(path):
                    missing[file_id] = path
        moved = {file_id: missing[file_id] for file_id in self.store.detect_moves(self.id, sorted(missing))}
        for survey in surveys:
            here = len(survey.missing.keys() & moved.keys())
            survey.has_moved = not survey.exists and 0 < here >= len(survey.missing) - here
        # A moved file that was analyzed again, for example by another model, counts as indexed.
        moved_unread = min(len(moved), self.counts.reused)
        self.counts += RunCounts(moved=moved_unread, reused=-moved_unread)
        return moved

    def _analyze(self, roots: Sequence[bytes], analyzers: AnalyzerGroup) -> None:
        queue, force = Queue(self.store, self.id, roots), self.request.force
        if self.context.work_on_cluster is not None:
            work = self.context.work_on_cluster(queue, force)
        else:

            def unpredicted(digest: bytes) -> Sequence[int]:
                return range(len(analyzers.analyzers)) if force else self.store.unpredicted(digest, self.id)

            worker = Worker(self.context.source, analyzers, unpredicted, DigestClaims(remember=force))
            work = work_through(queue, worker, self.context.open_executor, self.context.workers, self.check_stop)
        for committed in work:
            self.counts += committed
            self.progress.advance(committed.indexed + committed.reused + committed.failed, committed.failed)

    def _leave_out(self, survey: RootSurvey) -> RunCounts:
        """Take files that the scan leaves out on purpose out of the answers, and those whose paths are folders now.

        Like missing files, they are remembered for a while. Obsolete failures are not.
        """
        if survey.obsolete:
            self.store.delete_failures(sorted(survey.obsolete))
        if survey.left_out or survey.replaced:
            self.store.mark_missing(sorted(survey.left_out | survey.replaced))
        return RunCounts(left_out=len(survey.left_out), removed=len(survey.replaced))

    def mark_missing(self, survey: RootSurvey, missing: Sequence[int]) -> RunCounts:
        """Mark files as missing if that looks safe, or if the request prunes them. Otherwise keep their entries and warn."""
        if not missing:
            return RunCounts()
        prune = self.request.prune
        known = survey.known - len(survey.left_out) - len(survey.replaced) - len(survey.obsolete)
        suspicious = survey.scanned == 0 or len(missing) > _MAX_MISSING_SHARE * known
        if prune or (prune is None and (survey.has_moved or not suspicious)):
            self.store.mark_missing(missing)
            return RunCounts(removed=len(missing))
        if prune is None or not survey.exists:
            problem = f"{len(missing)} of {known} known files are missing" if survey.exists else "it is missing"
            self.warnings[survey.root] = (
                f"{os.fsdecode(survey.root)!r}: {problem}. Nothing was removed, in case its disk is not mounted. "
                "If the files were deleted, run again with --prune --yes; if they are at another path now: moodex move OLD NEW."
            )
            if len(self.warnings) <= _MAX_WARNINGS:
                self.progress.warn(self.warnings[survey.root])
        return RunCounts(kept=len(missing))

    def _warn_of_the_rest(self) -> None:
        if len(self.warnings) > _MAX_WARNINGS:
            self.progress.warn(f"{len(self.warnings) - _MAX_WARNINGS:,} more folders and files are missing.")
