"""One indexing run: scan the roots, read and decode what is new, classify it in batches, commit batch by batch.

Work waits in the store, not in memory: the scan notes what has to be looked at, the workers take it from there, so that a run of
any size needs the same memory and an interrupted one goes on where it stopped.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from indexer.domain.errors import Interrupted, MoodexError
from indexer.domain.files import FileStamp, FileState
from indexer.domain.reports import Summary
from indexer.domain.runs import DONE, FAILED, INTERRUPTED
from indexer.ingest.survey import plan_folder
from indexer.ingest.workers import WorkerPool
from indexer.ports.sources import ScanOptions
from indexer.ports.store_writer import FolderScanResult
from indexer.sources.filesystem import scan
from indexer.system.paths import is_under

if TYPE_CHECKING:
    from indexer.analysis.analyzer import Analyzer
    from indexer.domain.files import Failure
    from indexer.ports.progress import Progress
    from indexer.ports.sources import ScannedFolder
    from indexer.ports.store_writer import KnownFile, StoreWriter

_SCAN_COMMIT_FOLDERS = 2000
_MAX_MISSING_SHARE = 0.5
"""A scan that misses more than this share of a root's files is taken for an unmounted disk, not for a deletion."""
GRACE_SECONDS = 30 * 86400.0
"""Seconds for which what is gone is remembered, should it come back."""


_COUNTS = ("scanned", "indexed", "reused", "unchanged", "moved", "removed", "failed", "kept", "expired")


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """How to index. `prune`: None marks vanished files gone where that is safe, True always, False never.

    Files that have been missing for `grace` seconds are forgotten (None: the setting, or `GRACE_SECONDS`). A run that has nothing
    to do leaves no record where `idle_runs` is False.
    """

    scan: ScanOptions = field(default_factory=ScanOptions)
    prune: bool | None = None
    force: bool = False
    workers: int = 2
    grace: float | None = None
    idle_runs: bool = True


def index(
    roots: Sequence[bytes],
    catalog: StoreWriter,
    reader: Analyzer,
    options: IndexOptions,
    progress: Progress,
    check_stop: Callable[[], None],
    away: Sequence[bytes] = (),
) -> Summary:
    """Index roots (absolute, real, none inside another) with one model. Those that are `away` lose nothing unless told to.

    `check_stop` is called between steps and raises to end the run early; what was committed stays, and the run's record says how
    it ended.
    """
    started = time.monotonic()
    classifier = reader.classifier
    run_id = catalog.begin_run([*roots, *away], catalog.register_model(classifier.card), reader.detector_key)
    run = _Run(catalog, run_id, options, progress, check_stop)
    counts: Counter[str] = Counter()
    outcome, reason = FAILED, None
    idle = False
    try:
        surveys = [*map(run.survey_root, roots), *map(run.survey_missing_root, away)]
        for survey in surveys:
            counts.update(scanned=survey.scanned, unchanged=survey.unchanged, failed=survey.failed)
        waiting = catalog.count_pending(roots) if roots else 0
        progress.start(waiting)
        if waiting:
            work = WorkerPool(catalog, reader, run.id, options.workers, options.force)
            try:
                for done, failed in work.run(roots, check_stop):
                    progress.advance(done, failed)
            finally:
                counts.update(work.counts)
        moved = set(catalog.detect_moves(run.id, sorted(set().union(*(survey.missing for survey in surveys)))))
        # A moved file that had to be computed all the same, for another model say, counts as indexed.
        counts["moved"] = min(len(moved), counts["reused"])
        counts["reused"] -= counts["moved"]
        for survey in surveys:
            counts.update(run.mark_missing(survey, sorted(survey.missing - moved)))
        counts["expired"] = catalog.expire(time.time() - (GRACE_SECONDS if options.grace is None else options.grace))
        outcome, reason = DONE, " ".join(run.complaints.values()) or None
        idle = not (waiting or moved or counts["removed"] or counts["expired"] or any(survey.noted for survey in surveys))
    except (Interrupted, KeyboardInterrupt) as stop:
        outcome, reason = INTERRUPTED, str(stop) or "Stopped at once."
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, MoodexError) else f"{type(error).__name__}: {error}"
        raise
    finally:
        progress.finish()
        if idle and not options.idle_runs:
            catalog.forget_run(run.id)
        else:
            catalog.finish_run(run.id, outcome, {name: n for name, n in counts.items() if n}, reason)
    seconds = time.monotonic() - started
    return Summary(
        **{name: counts[name] for name in _COUNTS},
        seconds=round(seconds, 3),
        images_per_second=round(counts["indexed"] / seconds, 2) if seconds else 0.0,
        device=classifier.device,
        engine=classifier.engine,
        model=classifier.card.name,
        away=tuple(map(os.fsdecode, run.complaints)),
    )


def _has_failed(file: KnownFile | None) -> bool:
    return file is not None and file.state is FileState.FAILED


@dataclass(slots=True)
class _Survey:
    """What the scan of one root came to. `noted` counts what is news; `there` is False where there was nothing to scan."""

    root: bytes
    known: int
    scanned: int = 0
    unchanged: int = 0
    failed: int = 0
    noted: int = 0
    there: bool = True
    missing: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Run:
    """What all steps of one run share. `complaints` says of roots that are away what was done about it."""

    catalog: StoreWriter
    id: int
    options: IndexOptions
    progress: Progress
    check_stop: Callable[[], None]
    complaints: dict[bytes, str] = field(default_factory=dict)

    def survey_root(self, root: bytes) -> _Survey:
        """Scan a root and note in the store what has to be looked at."""
        survey = _Survey(root, known=self.catalog.count_files(root))
        if os.path.isdir(root):
            survey.missing |= self._as_a_file(root)
        folders = frozenset(self.catalog.known_folders(root))
        unvisited = set(folders)
        settled = {} if self.options.force else self.catalog.unchanged_folder_digests(root, self.id)
        notes: list[FolderScanResult] = []
        noted = 0
        for scanned in scan(root, self.options.scan):
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
                known = self.catalog.known_files(scanned.path, self.id)
                plan = plan_folder(scanned, known, self.options.force)
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
                self.catalog.record_scan(self.id, notes)
                notes, noted = [], 0
            self.progress.scanning(survey.scanned)
        self.catalog.record_scan(self.id, notes)
        survey.missing |= self._live_in(unvisited)
        return survey

    def survey_missing_root(self, root: bytes) -> _Survey:
        """What is known of a root that is not there."""
        survey = _Survey(root, known=self.catalog.count_files(root), there=False)
        survey.missing |= self._live_in(self.catalog.known_folders(root)) | self._as_a_file(root)
        return survey

    def _as_a_file(self, root: bytes) -> set[int]:
        """What is known of a root as of a file, once it is none any more."""
        single = self.catalog.known_files(os.path.dirname(root), self.id).get(os.path.basename(root))
        return {single.id} if single and single.state is not FileState.GONE else set()

    def _live_in(self, folders: Iterable[bytes]) -> set[int]:
        found = (file for folder in folders for file in self.catalog.known_files(folder, self.id).values())
        return {file.id for file in found if file.state is not FileState.GONE}

    def _blocked(self, folder: bytes, problem: Failure, survey: _Survey) -> FolderScanResult:
        """A folder that cannot be listed is itself the failed file; nothing below it counts as missing."""
        parent, name = os.path.split(folder)
        earlier = self.catalog.known_files(parent, self.id).get(name)
        if earlier:
            survey.missing.discard(earlier.id)
        survey.failed += 1
        survey.noted += not _has_failed(earlier)
        return FolderScanResult(parent, {}, {name: (FileStamp(0, 0), problem)})

    def mark_missing(self, survey: _Survey, lost: Sequence[int]) -> Counter[str]:
        """Files that are missing and nowhere else are marked gone, where that is safe."""
        prune = self.options.prune
        suspicious = survey.scanned == 0 or len(lost) > _MAX_MISSING_SHARE * survey.known
        if prune or (prune is None and not suspicious):
            self.catalog.mark_missing(lost)
            return Counter(removed=len(lost))
        if lost and (prune is None or not survey.there):
            found = f"{len(lost)} of {survey.known} known files are missing" if survey.there else "it is not there"
            self.complaints[survey.root] = (
                f"{os.fsdecode(survey.root)!r}: {found}. Nothing was removed, in case a disk is not mounted; if they are really "
                "gone, run again with --prune --yes."
            )
            self.progress.warn(self.complaints[survey.root])
        return Counter(kept=len(lost))


def _is_settled(scanned: ScannedFolder, folders: Set[bytes], settled: Mapping[bytes, bytes]) -> bool:
    """Whether a folder need not be compared file by file: nothing is in it or known of it, or all is listed as it was."""
    if not scanned.entries:
        return scanned.path not in folders
    return scanned.whole and scanned.path in settled and scanned.listing() == settled[scanned.path]
