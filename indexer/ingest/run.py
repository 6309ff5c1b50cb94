"""One index run: scan the roots, analyze what is new, commit batch by batch.

Work waits in the store, not in memory: the scan records what has to be analyzed, and the workers take it from there. So a run of
any size needs the same memory, and an interrupted run resumes where it stopped.
"""

from __future__ import annotations

import os
import time
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

_SCAN_COMMIT_FOLDERS = 2000
_MAX_MISSING_SHARE = 0.5
"""A scan that misses more than this share of a root's files suggests an unmounted disk, not a deletion."""


@dataclass(frozen=True, slots=True)
class IndexRequest:
    """What a user asks of a run.

    `exclude` are gitignore patterns below each root. `prune`: None removes the entries of missing files if that is safe, True
    always, False never. `force` analyzes every file again.
    """

    exclude: tuple[str, ...] = ()
    follow_symlinks: bool = False
    prune: bool | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a run works with.

    `own_folder` is the program's data folder, which is not scanned; `grace_seconds` is how long entries of missing files are
    kept; a run that finds nothing to do leaves no record unless `record_idle`.
    """

    source: ImageSource
    open_executor: OpenExecutor
    own_folder: bytes
    workers: int
    grace_seconds: float
    record_idle: bool


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

    `check_stop` is called between steps and raises to end the run early. What was committed stays, and the record of the run says
    how it ended.
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
        outcome, reason = DONE, " ".join(run.complaints.values()) or None
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
            store.finish_run(run_id, outcome, run.counts.nonzero(), reason)
    seconds = time.monotonic() - started
    return Summary(
        **{name: getattr(run.counts, name) for name in COUNT_NAMES},
        seconds=round(seconds, 3),
        images_per_second=round(run.counts.indexed / seconds, 2) if seconds else 0.0,
        device=classifier.device,
        engine=classifier.engine,
        model=classifier.card.name,
        away=tuple(map(os.fsdecode, run.complaints)),
    )


def _has_failed(file: KnownFile | None) -> bool:
    return file is not None and file.state is FileState.FAILED


@dataclass(slots=True)
class _Survey:
    """What the scan of one root found. `noted` counts files with news; `there` is False for a missing root."""

    root: bytes
    known: int
    scanned: int = 0
    unchanged: int = 0
    failed: int = 0
    noted: int = 0
    there: bool = True
    missing: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Run:
    """The steps of one run. `complaints` says of roots that look unmounted that nothing was removed."""

    store: StoreWriter
    id: int
    request: IndexRequest
    context: RunContext
    progress: Progress
    check_stop: Callable[[], None]
    counts: RunCounts = field(default_factory=RunCounts)
    complaints: dict[bytes, str] = field(default_factory=dict)

    def index(self, roots: Roots, analyzer: Analyzer) -> bool:
        """Scan, analyze, and settle what is missing; return whether there was nothing to do."""
        surveys = [*map(self.survey_root, roots.available), *map(self.survey_missing_root, roots.missing)]
        for survey in surveys:
            self.counts += RunCounts(scanned=survey.scanned, unchanged=survey.unchanged, failed=survey.failed)
        waiting = self.store.count_pending(roots.available) if roots.available else 0
        self.progress.start(waiting)
        if waiting:
            self._work(roots.available, analyzer)
        moved = set(self.store.detect_moves(self.id, sorted(set().union(*(survey.missing for survey in surveys)))))
        # A moved file that had to be computed all the same, for another model say, counts as indexed.
        moved_unread = min(len(moved), self.counts.reused)
        self.counts += RunCounts(moved=moved_unread, reused=-moved_unread)
        for survey in surveys:
            self.counts += self.mark_missing(survey, sorted(survey.missing - moved))
        self.counts += RunCounts(expired=self.store.expire(time.time() - self.context.grace_seconds))
        found_news = waiting or moved or any(survey.noted for survey in surveys)
        return not (found_news or self.counts.removed or self.counts.expired)

    def _work(self, roots: Sequence[bytes], analyzer: Analyzer) -> None:
        force = self.request.force
        claims = DigestClaims(remember=force)
        worker = Worker(self.store, self.id, self.context.source, analyzer, force, claims)
        for committed in work_through(roots, worker, self.context.open_executor, self.context.workers, self.check_stop):
            self.counts += committed
            self.progress.advance(committed.indexed + committed.reused + committed.failed, committed.failed)

    def survey_root(self, root: bytes) -> _Survey:
        """Scan a root and note in the store what has to be looked at."""
        survey = _Survey(root, known=self.store.count_files(root))
        if self.context.source.is_folder(root):
            survey.missing |= self._as_a_file(root)
        folders = frozenset(self.store.known_folders(root))
        unvisited = set(folders)
        settled = {} if self.request.force else self.store.unchanged_folder_digests(root, self.id)
        notes: list[FolderScanResult] = []
        noted = 0
        for scanned in self.context.source.scan(root, self._scan_options()):
            self.check_stop()
            unvisited.discard(scanned.path)
            if scanned.problem:
                unvisited -= {folder for folder in unvisited if is_under(folder, scanned.path)}
                note = self._blocked(scanned.path, scanned.problem, survey)
            elif _is_settled(scanned, folders, settled):
                survey.scanned += len(scanned.entries)
                survey.unchanged += len(scanned.entries)
                self.progress.scanning(survey.scanned)
                continue
            else:
                known = self.store.known_files(scanned.path, self.id)
                plan = plan_folder(scanned, known, self.request.force)
                survey.scanned += plan.scanned
                survey.unchanged += plan.unchanged
                survey.failed += plan.still_failed + len(plan.note.failed)
                survey.missing.update(plan.missing)
                note = plan.note
                survey.noted += len(note.pending) + sum(not _has_failed(known.get(name)) for name in note.failed)
            if note.pending or note.failed or (scanned.entries and note.listing):
                notes.append(note)
                noted += 1 + len(note.pending) + len(note.failed)
            if noted >= _SCAN_COMMIT_FOLDERS:
                self._record(notes)
                notes, noted = [], 0
            self.progress.scanning(survey.scanned)
        self._record(notes)
        survey.missing |= self._live_in(unvisited)
        return survey

    def survey_missing_root(self, root: bytes) -> _Survey:
        """What is known of a root that is not there."""
        survey = _Survey(root, known=self.store.count_files(root), there=False)
        survey.missing |= self._live_in(self.store.known_folders(root)) | self._as_a_file(root)
        return survey

    def _record(self, notes: Sequence[FolderScanResult]) -> None:
        self.store.record_scan(self.id, [note._replace(source=self.context.source.name) for note in notes])

    def _scan_options(self) -> ScanOptions:
        return ScanOptions(self.request.exclude, self.request.follow_symlinks, self.context.own_folder)

    def _as_a_file(self, root: bytes) -> set[int]:
        """What is known of a root as of a file, once it is none any more."""
        single = self.store.known_files(os.path.dirname(root), self.id).get(os.path.basename(root))
        return {single.id} if single and single.state is not FileState.GONE else set()

    def _live_in(self, folders: Iterable[bytes]) -> set[int]:
        found = (file for folder in folders for file in self.store.known_files(folder, self.id).values())
        return {file.id for file in found if file.state is not FileState.GONE}

    def _blocked(self, folder: bytes, problem: Failure, survey: _Survey) -> FolderScanResult:
        """A folder that cannot be listed is itself the failed file; nothing below it counts as missing."""
        parent, name = os.path.split(folder)
        earlier = self.store.known_files(parent, self.id).get(name)
        if earlier:
            survey.missing.discard(earlier.id)
        survey.failed += 1
        survey.noted += not _has_failed(earlier)
        return FolderScanResult(parent, {}, {name: (FileStamp(0, 0), problem)})

    def mark_missing(self, survey: _Survey, lost: Sequence[int]) -> RunCounts:
        """Files that are missing and nowhere else are marked gone, where that is safe."""
        prune = self.request.prune
        suspicious = survey.scanned == 0 or len(lost) > _MAX_MISSING_SHARE * survey.known
        if prune or (prune is None and not suspicious):
            self.store.mark_missing(lost)
            return RunCounts(removed=len(lost))
        if lost and (prune is None or not survey.there):
            found = f"{len(lost)} of {survey.known} known files are missing" if survey.there else "it is not there"
            self.complaints[survey.root] = (
                f"{os.fsdecode(survey.root)!r}: {found}. Nothing was removed, in case a disk is not mounted; if they are really "
                "gone, run again with --prune --yes."
            )
            self.progress.warn(self.complaints[survey.root])
        return RunCounts(kept=len(lost))


def _is_settled(scanned: ScannedFolder, folders: Set[bytes], settled: Mapping[bytes, bytes]) -> bool:
    """Whether a folder need not be compared file by file: nothing is in it or known of it, or all is listed as it was."""
    if not scanned.entries:
        return scanned.path not in folders
    return scanned.whole and scanned.path in settled and scanned.listing() == settled[scanned.path]
