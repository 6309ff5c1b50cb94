"""One index run: scan the roots, analyze new and changed files, commit batch by batch.

The queue is in the store, not in memory: the scan records the files to analyze, and the workers read them from there. So a run of
any size needs the same memory, and an interrupted run resumes where it stopped.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from indexer.domain.errors import Interrupted, MoodexError
from indexer.domain.files import FileStamp, FileState
from indexer.domain.reports import Summary
from indexer.domain.runs import COUNT_NAMES, DONE, FAILED, INTERRUPTED, RunCounts
from indexer.ingest.coordinator import DigestClaims
from indexer.ingest.survey import plan_folder
from indexer.ingest.workers import Worker, work_through
from indexer.ports.sources import ScanOptions
from indexer.ports.store_writer import FolderScanResult
from indexer.system.paths import is_under

if TYPE_CHECKING:
    from indexer.domain.files import Failure
    from indexer.ingest.roots import Roots
    from indexer.ports.analyzer import Analyzer
    from indexer.ports.executor import OpenExecutor
    from indexer.ports.progress import Progress
    from indexer.ports.sources import ImageSource, ScannedFolder
    from indexer.ports.store_writer import KnownFile, StoreWriter

_log = logging.getLogger(__name__)

_SCAN_COMMIT_ROWS = 2000
"""A scan is committed after at least this many rows: folders, and pending or failed files."""
_MAX_MISSING_SHARE = 0.5
"""A scan that misses more than this share of a root's files suggests an unmounted disk, not a deletion."""


@dataclass(frozen=True, slots=True)
class IndexRequest:
    """The options of a run.

    - `exclude`: gitignore patterns below each root.
    - `one_file_system`: skip folders on other file systems than that of their root.
    - `prune`: None removes the entries of missing files if that looks safe, True always, False never.
    - `force`: analyze every file again.
    """

    exclude: tuple[str, ...] = ()
    follow_symlinks: bool = False
    one_file_system: bool = False
    prune: bool | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class RunContext:
    """The environment of a run.

    - `own_folder`: moodex's data folder, which is not scanned.
    - `grace_seconds`: how long the entries of missing files are kept.
    - `record_idle`: whether a run that finds nothing to do is recorded.
    - `compare`: called once all images are analyzed; compares their predictions with each other.
    """

    source: ImageSource
    open_executor: OpenExecutor
    own_folder: bytes
    workers: int
    grace_seconds: float
    record_idle: bool
    compare: Callable[[], None]


def index(
    roots: Roots,
    store: StoreWriter,
    analyzer: Analyzer,
    request: IndexRequest,
    context: RunContext,
    progress: Progress,
    check_stop: Callable[[], None],
) -> Summary:
    """Index roots (absolute, real, none inside another) with one analyzer. Missing roots keep their entries unless pruned.

    `check_stop` is called between steps and raises to end the run early. Committed batches stay, and the record of the run has
    its outcome.
    """
    started = time.monotonic()
    classifier = analyzer.classifier
    model_id = store.register_model(classifier.card)
    run_id = store.begin_run(roots.all(), model_id, analyzer.detector_key)
    run = _Run(store, run_id, request, context, progress, check_stop)
    outcome, reason = FAILED, None
    idle = False
    try:
        idle = run.index(roots, analyzer)
        context.compare()
        outcome, reason = DONE, " ".join(run.warnings.values()) or None
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
        device=classifier.device,
        engine=classifier.engine,
        model=classifier.card.name,
        away=tuple(map(os.fsdecode, run.warnings)),
        skipped=dict(run.skipped.most_common()),
    )


def _analyzed(counts: RunCounts) -> int:
    """Return the number of files that a run read: it classified their images, knew them already, or failed."""
    return counts.indexed + counts.reused + counts.moved + counts.failed


@dataclass(slots=True)
class _Survey:
    """The result of scanning one root.

    - `known`: number of its files that the store knows and that were not missing before.
    - `scanned`, `unchanged`, `failed`: numbers of scanned files.
    - `changes`: number of files that are pending, or failed for the first time.
    - `exists`: False for a missing root.
    - `missing`: ids of known files that the scan did not find.
    """

    root: bytes
    known: int
    scanned: int = 0
    unchanged: int = 0
    failed: int = 0
    changes: int = 0
    exists: bool = True
    missing: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Run:
    """The steps of one run.

    `warnings` are sentences about roots that look unmounted, by root. `skipped` are numbers of files that the scan passed over,
    by their kinds.
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

    def index(self, roots: Roots, analyzer: Analyzer) -> bool:
        """Scan, analyze, and update missing files; return whether there was nothing to do."""
        surveys = [*map(self.survey_root, roots.available), *map(self.survey_missing_root, roots.missing)]
        for survey in surveys:
            self.counts += RunCounts(scanned=survey.scanned, unchanged=survey.unchanged, failed=survey.failed)
        pending = self.store.count_pending(roots.available) if roots.available else 0
        self.progress.start(pending)
        if pending:
            self._analyze(roots.available, analyzer)
        moved = set(self.store.detect_moves(self.id, sorted(set().union(*(survey.missing for survey in surveys)))))
        # A moved file that was analyzed again, for example by another model, counts as indexed.
        moved_unread = min(len(moved), self.counts.reused)
        self.counts += RunCounts(moved=moved_unread, reused=-moved_unread)
        for survey in surveys:
            self.counts += self.mark_missing(survey, sorted(survey.missing - moved))
        self.counts += RunCounts(expired=self.store.expire(time.time() - self.context.grace_seconds))
        has_changes = pending or moved or any(survey.changes for survey in surveys)
        return not (has_changes or self.counts.removed or self.counts.expired)

    def _analyze(self, roots: Sequence[bytes], analyzer: Analyzer) -> None:
        force = self.request.force
        claims = DigestClaims(remember=force)
        worker = Worker(self.store, self.id, self.context.source, analyzer, force, claims)
        for committed in work_through(roots, worker, self.context.open_executor, self.context.workers, self.check_stop):
            self.counts += committed
            self.progress.advance(committed.indexed + committed.reused + committed.failed, committed.failed)

    def survey_root(self, root: bytes) -> _Survey:
        """Scan a root, and record in the store which of its files have to be analyzed."""
        survey = _Survey(root, known=self.store.count_files(root))
        if self.context.source.is_folder(root):
            survey.missing |= self._indexed_as_file(root)
        folders = frozenset(self.store.known_folders(root))
        unvisited = set(folders)
        known_digests = {} if self.request.force else self.store.unchanged_folder_digests(root, self.id)
        results: list[FolderScanResult] = []
        rows = 0
        for scanned in self.context.source.scan(root, self._scan_options()):
            self.check_stop()
            unvisited.discard(scanned.path)
            self._note_skipped(scanned)
            if scanned.problem:
                unvisited -= {folder for folder in unvisited if is_under(folder, scanned.path)}
                result = self._unlistable(scanned.path, scanned.problem, survey)
            elif _is_unchanged(scanned, folders, known_digests):
                survey.scanned += len(scanned.entries)
                survey.unchanged += len(scanned.entries)
                self.progress.scanning(survey.scanned)
                continue
            else:
                known = self.store.known_files(scanned.path, self.id)
                plan = plan_folder(scanned, known, self.request.force)
                survey.scanned += plan.scanned
                survey.unchanged += plan.unchanged
                survey.failed += plan.still_failed + len(plan.result.failed)
                survey.missing.update(plan.missing)
                result = plan.result
                survey.changes += len(result.pending) + sum(not _has_failed(known.get(name)) for name in result.failed)
            if result.pending or result.failed or (scanned.entries and result.listing):
                results.append(result)
                rows += 1 + len(result.pending) + len(result.failed)
            if rows >= _SCAN_COMMIT_ROWS:
                self._record(results)
                results, rows = [], 0
            self.progress.scanning(survey.scanned)
        self._record(results)
        survey.missing |= self._files_in(unvisited)
        return survey

    def _note_skipped(self, scanned: ScannedFolder) -> None:
        """Count and log what the scan of a folder passed over."""
        self.skipped.update(kind for _, kind in scanned.skipped)
        if scanned.skipped and _log.isEnabledFor(logging.DEBUG):
            for name, kind in scanned.skipped:
                _log.debug("Passed over %r (%s).", os.fsdecode(os.path.join(scanned.path, name)), kind)

    def survey_missing_root(self, root: bytes) -> _Survey:
        """Return the survey of a missing root: all of its files are missing."""
        survey = _Survey(root, known=self.store.count_files(root), exists=False)
        survey.missing |= self._files_in(self.store.known_folders(root)) | self._indexed_as_file(root)
        return survey

    def _record(self, results: Sequence[FolderScanResult]) -> None:
        self.store.record_scan(self.id, [result._replace(source=self.context.source.name) for result in results])

    def _scan_options(self) -> ScanOptions:
        request = self.request
        return ScanOptions(request.exclude, request.follow_symlinks, self.context.own_folder, request.one_file_system)

    def _indexed_as_file(self, root: bytes) -> set[int]:
        """Return the id of a root that was indexed as a file and is not a file any more, if it was."""
        file = self.store.known_files(os.path.dirname(root), self.id).get(os.path.basename(root))
        return {file.id} if file and file.state is not FileState.GONE else set()

    def _files_in(self, folders: Iterable[bytes]) -> set[int]:
        """Return the ids of the known files directly in some folders that were not missing before."""
        files = (file for folder in folders for file in self.store.known_files(folder, self.id).values())
        return {file.id for file in files if file.state is not FileState.GONE}

    def _unlistable(self, folder: bytes, problem: Failure, survey: _Survey) -> FolderScanResult:
        """Record a folder that cannot be listed as a failed file. The files below it do not count as missing."""
        parent, name = os.path.split(folder)
        known = self.store.known_files(parent, self.id).get(name)
        if known:
            survey.missing.discard(known.id)
        survey.failed += 1
        survey.changes += not _has_failed(known)
        return FolderScanResult(parent, {}, {name: (FileStamp(0, 0), problem)})

    def mark_missing(self, survey: _Survey, missing: Sequence[int]) -> RunCounts:
        """Mark files as missing if that looks safe, or if the request prunes them. Otherwise keep their entries and warn."""
        prune = self.request.prune
        suspicious = survey.scanned == 0 or len(missing) > _MAX_MISSING_SHARE * survey.known
        if prune or (prune is None and not suspicious):
            self.store.mark_missing(missing)
            return RunCounts(removed=len(missing))
        if missing and (prune is None or not survey.exists):
            problem = f"{len(missing)} of {survey.known} known files are missing" if survey.exists else "it is missing"
            self.warnings[survey.root] = (
                f"{os.fsdecode(survey.root)!r}: {problem}. Nothing was removed, in case its disk is not mounted. "
                "If the files were deleted, run again with --prune --yes."
            )
            self.progress.warn(self.warnings[survey.root])
        return RunCounts(kept=len(missing))


def _has_failed(file: KnownFile | None) -> bool:
    return file is not None and file.state is FileState.FAILED


def _is_unchanged(scanned: ScannedFolder, known_folders: Set[bytes], known_digests: Mapping[bytes, bytes]) -> bool:
    """Return whether a folder can be skipped: it is empty and unknown, or its listing did not change."""
    if not scanned.entries:
        return scanned.path not in known_folders
    return scanned.whole and scanned.path in known_digests and scanned.listing() == known_digests[scanned.path]
