"""One indexing run: scan the roots, read and decode what is new, classify it in batches, commit batch by batch.

Work waits in the store, not in memory: the scan notes what has to be looked at, the workers take it from there, so that a run of
any size needs the same memory and an interrupted one goes on where it stopped.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from indexer.domain import FileStamp, FileState
from indexer.errors import Interrupted
from indexer.messages import Summary
from indexer.plan import plan_folder
from indexer.ports import FolderNote
from indexer.scan import ScanOptions, is_under, scan
from indexer.work import Work

if TYPE_CHECKING:
    from indexer.domain import Failure
    from indexer.look import Reader
    from indexer.ports import Catalog, Progress
    from indexer.scan import ScannedFolder

_NOTED_AT_ONCE = 2000
_WORTH_KEEPING = 0.5
"""A scan that misses more than this share of a root's files is taken for an unmounted disk, not for a deletion."""


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """How to index. `prune`: None marks vanished files gone where that is safe, True always, False never."""

    scan: ScanOptions = field(default_factory=ScanOptions)
    prune: bool | None = None
    force: bool = False
    workers: int = 2


def index(
    roots: Sequence[bytes],
    catalog: Catalog,
    reader: Reader,
    options: IndexOptions,
    progress: Progress,
    check_stop: Callable[[], None],
) -> Summary:
    """Index roots (absolute, real, none inside another) with one model.

    `check_stop` is called between steps and raises to end the run early; what was committed stays, and the run's record says how
    it ended.
    """
    started = time.monotonic()
    classifier = reader.classifier
    run_id = catalog.begin_run(roots, catalog.register_model(classifier.card), reader.finds_by)
    run = _Run(catalog, run_id, options, progress, check_stop)
    counts: Counter[str] = Counter()
    outcome = "failed"
    try:
        surveys = [run.survey(root) for root in roots]
        for survey in surveys:
            counts.update(scanned=survey.scanned, unchanged=survey.unchanged, failed=survey.failed)
        waiting = catalog.count_pending(roots)
        progress.start(waiting)
        if waiting:
            work = Work(catalog, reader, run.id, options.workers, options.force)
            for done, failed in work.through(roots, check_stop):
                progress.advance(done, failed)
            counts.update(work.counts)
        moved = set(catalog.settle_moves(run.id, sorted(set().union(*(survey.missing for survey in surveys)))))
        # A moved file that had to be computed all the same, for another model say, counts as indexed.
        counts["moved"] = min(len(moved), counts["reused"])
        counts["reused"] -= counts["moved"]
        for survey in surveys:
            counts.update(run.settle_lost(survey, sorted(survey.missing - moved)))
        outcome = "done"
    except (Interrupted, KeyboardInterrupt):
        outcome = "interrupted"
        raise
    finally:
        progress.finish()
        catalog.finish_run(run.id, outcome, dict(counts))
    seconds = time.monotonic() - started
    return Summary(
        **{name: counts[name] for name in ("scanned", "indexed", "reused", "unchanged", "moved", "removed", "failed", "kept")},
        seconds=round(seconds, 3),
        images_per_second=round(counts["indexed"] / seconds, 2) if seconds else 0.0,
        device=classifier.device,
        engine=classifier.engine,
        model=classifier.card.name,
    )


@dataclass(slots=True)
class _Survey:
    """What the scan of one root came to."""

    root: bytes
    known: int
    scanned: int = 0
    unchanged: int = 0
    failed: int = 0
    missing: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Run:
    """What all steps of one run share."""

    catalog: Catalog
    id: int
    options: IndexOptions
    progress: Progress
    check_stop: Callable[[], None]

    def survey(self, root: bytes) -> _Survey:
        """Scan a root and note in the store what has to be looked at."""
        survey = _Survey(root, known=self.catalog.count_files(root))
        folders = frozenset(self.catalog.known_folders(root))
        unvisited = set(folders)
        settled = {} if self.options.force else self.catalog.settled_listings(root, self.id)
        notes: list[FolderNote] = []
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
            if note.pending or note.failed or (scanned.entries and note.listing):
                notes.append(note)
                noted += 1 + len(note.pending) + len(note.failed)
            if noted >= _NOTED_AT_ONCE:
                self.catalog.note_scan(self.id, notes)
                notes, noted = [], 0
            self.progress.scanning(survey.scanned)
        self.catalog.note_scan(self.id, notes)
        for folder in unvisited:
            known = self.catalog.known_files(folder, self.id)
            survey.missing.update(file.id for file in known.values() if file.state is not FileState.GONE)
        return survey

    def _blocked(self, folder: bytes, problem: Failure, survey: _Survey) -> FolderNote:
        """A folder that cannot be listed is itself the failed file; nothing below it counts as missing."""
        parent, name = os.path.split(folder)
        earlier = self.catalog.known_files(parent, self.id).get(name)
        if earlier:
            survey.missing.discard(earlier.id)
        survey.failed += 1
        return FolderNote(parent, {}, {name: (FileStamp(0, 0), problem)})

    def settle_lost(self, survey: _Survey, lost: Sequence[int]) -> Counter[str]:
        """Files that are missing and nowhere else are marked gone, where that is safe."""
        prune = self.options.prune
        suspicious = survey.scanned == 0 or len(lost) > _WORTH_KEEPING * survey.known
        if prune or (prune is None and not suspicious):
            self.catalog.mark_gone(lost)
            return Counter(removed=len(lost))
        if lost and prune is None:
            self.progress.warn(
                f"{os.fsdecode(survey.root)!r}: {len(lost)} of {survey.known} known files are missing. Nothing was removed, in "
                "case a disk is not mounted; if they are really gone, run again with --prune."
            )
        return Counter(kept=len(lost))


def _is_settled(scanned: ScannedFolder, folders: Set[bytes], settled: Mapping[bytes, bytes]) -> bool:
    """Whether a folder need not be compared file by file: nothing is in it or known of it, or all is listed as it was."""
    if not scanned.entries:
        return scanned.path not in folders
    return scanned.whole and scanned.path in settled and scanned.listing() == settled[scanned.path]
