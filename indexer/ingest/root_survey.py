"""The survey of roots: scans them, and records in the store which of their files have to be analyzed."""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from indexer.domain.files import Failure, FileStamp, FileState
from indexer.domain.path_set import PathSet, below
from indexer.ingest.survey import plan_folder
from indexer.ports.sources import ScannedFolder
from indexer.ports.store_writer import FolderScanResult

if TYPE_CHECKING:
    from indexer.ingest.roots import Roots
    from indexer.ports.progress import Progress
    from indexer.ports.sources import ImageSource, ScannedEntry, ScanOptions
    from indexer.ports.store_writer import KnownFile, StoreWriter

_log = logging.getLogger(__name__)

_NO_STAMP = FileStamp(0, 0)
"""The stamp of a folder that cannot be listed, and of a file whose status cannot be read."""

_SCAN_COMMIT_ROWS = 2000
"""A scan is committed after at least this many rows: folders, and pending or failed files."""


@dataclass(slots=True)
class RootSurvey:
    """The result of surveying one root, or the named files of one folder.

    - `known`: number of its files that the store knows and that were not missing before.
    - `scanned`, `unchanged`, `failed`: numbers of scanned files.
    - `changes`: number of files that are pending, or failed for the first time.
    - `exists`: False for a missing root.
    - `missing`: known files that do not exist any more, by id.
    - `has_moved`: whether at least half of the files of a missing root appeared at other paths: then, no disk is unmounted.
    - `replaced`: ids of known files at whose paths there are folders now.
    - `left_out`: ids of known files that exist, but that patterns or other rules of the scan leave out.
    - `obsolete`: ids of failures of folders that are gone, or can be scanned again; no image was ever behind them.
    """

    root: bytes
    known: int = 0
    scanned: int = 0
    unchanged: int = 0
    failed: int = 0
    changes: int = 0
    exists: bool = True
    missing: dict[int, bytes] = field(default_factory=dict)
    has_moved: bool = False
    replaced: set[int] = field(default_factory=set)
    left_out: set[int] = field(default_factory=set)
    obsolete: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class SurveyContext:
    """What a survey needs. `read_all` is whether files without a change are read as well."""

    store: StoreWriter
    run_id: int
    source: ImageSource
    options: ScanOptions
    read_all: bool
    progress: Progress
    check_stop: Callable[[], None]


class Surveyor:
    """Surveys the roots of one run. What the store knows of all roots is read at once, as there may be thousands of them.

    `system_entries` counts the folders and files that were left out because systems use them, by name, and `skipped` the other
    files that scans passed over, by kind. `unlisted` says why folders could not be scanned. `inner_roots` are other roots below
    those of this run; those that a scan found like any other folder or file are `absorbed`.
    """

    def __init__(self, context: SurveyContext, known_roots: Iterable[bytes], roots: Roots) -> None:
        self.system_entries: Counter[bytes] = Counter()
        self.skipped: Counter[str] = Counter()
        self.unlisted: dict[bytes, str] = {}
        self.absorbed: set[bytes] = set()
        self._without_image: set[int] = set()  # failures of folders, and of files without a status
        self._listed: set[bytes] = set()  # other roots that are files, or were, in folders that were scanned
        self._context, self._roots = context, roots
        self._store, self._source = context.store, context.source
        every = roots.all()
        own = PathSet(every)
        inner = sorted(root for root in known_roots if root not in own and own.covers(root))
        self._inner_roots = PathSet(inner)
        self._inner_files: dict[bytes, list[bytes]] = defaultdict(list)
        for root in inner:
            self._inner_files[os.path.dirname(root)].append(os.path.basename(root))
        self._known_counts = self._store.count_files(every)
        self._known_folders = self._store.known_folders(every)
        self._known_digests = {} if context.read_all else self._store.unchanged_folder_digests(roots.available, context.run_id)
        self._results: list[FolderScanResult] = []
        self._rows = self._scanned = 0

    def survey(self) -> Iterator[RootSurvey]:
        """Survey every root."""
        files: dict[bytes, list[bytes]] = defaultdict(list)
        for root in self._roots.available:
            if self._source.is_folder(root):
                yield self._survey_folder(root)
            else:
                files[os.path.dirname(root)].append(root)
        for folder, paths in files.items():
            yield self._survey_files(folder, paths)
        self._record()
        yield from self._survey_missing()

    def _survey_folder(self, root: bytes) -> RootSurvey:
        survey = RootSurvey(root, self._known_counts[root])
        unseen = self._indexed_as_files(os.path.dirname(root), [root])
        known_folders = below(self._known_folders, root)
        folders = frozenset(known_folders)
        unvisited = set(folders)
        for scanned in self._source.scan(root, self._context.options):
            self._context.check_stop()
            unvisited.discard(scanned.path)
            self._note_skipped(scanned)
            self._absorb(scanned)
            if scanned.problem or not scanned.whole:
                unvisited.difference_update(below(known_folders, scanned.path))
            if scanned.problem:
                self._add(self._unlistable(scanned.path, scanned.problem, survey, unseen))
            elif _is_unchanged(scanned, folders, self._known_digests):
                survey.scanned += len(scanned.entries)
                survey.unchanged += len(scanned.entries)
            else:
                unseen.update(self._plan(scanned, self._store.known_files(scanned.path, self._context.run_id), survey))
            self._show(survey)
        self._scanned += survey.scanned
        unseen.update(self._files_in(unvisited))
        self._judge(unseen, survey)
        return survey

    def _survey_files(self, folder: bytes, paths: Sequence[bytes]) -> RootSurvey:
        """Survey files of one folder that the user named."""
        survey = RootSurvey(folder)
        entries: list[ScannedEntry] = []
        problems: dict[bytes, Failure] = {}
        for path in paths:
            self._context.check_stop()
            for scanned in self._source.scan(path, self._context.options):
                if scanned.problem:  # what is around the file, such as its archive, cannot be read: nothing is known of the file
                    self._add(self._unlistable(scanned.path, scanned.problem, survey, {}))
                entries += scanned.entries
                problems.update(scanned.problems)
            folders = below(self._known_folders, path)
            if folders:  # the path was a folder
                survey.missing.update(self._files_in(folders))
        known = self._store.known_files(folder, self._context.run_id, [name for name, *_ in entries])
        survey.known = len(survey.missing) + sum(file.state is not FileState.GONE for file in known.values())
        self._plan(ScannedFolder(folder, tuple(sorted(entries)), problems, whole=False), known, survey)
        self._show(survey)
        self._scanned += survey.scanned
        return survey

    def _survey_missing(self) -> Iterator[RootSurvey]:
        """Return the surveys of missing roots: all of their files are missing."""
        by_folder: dict[bytes, list[bytes]] = defaultdict(list)
        for root in self._roots.missing:
            by_folder[os.path.dirname(root)].append(root)
        for folder, roots in by_folder.items():
            ids = {path: file_id for file_id, path in self._indexed_as_files(folder, roots).items()}
            for root in roots:
                missing = self._files_in(below(self._known_folders, root))
                if root in ids:
                    missing[ids[root]] = root
                yield RootSurvey(root, self._known_counts[root], exists=False, missing=missing)

    def survey_moved(self, moved: Collection[bytes]) -> list[RootSurvey]:
        """Return the surveys of other roots that are missing, and of which no more files are left than moved.

        The files that are left are missing.
        """
        own, others = PathSet(self._roots.all()), PathSet(self._store.root_paths())
        numbers = Counter(root for path in moved if (root := others.around(path)) is not None and not own.covers(path))
        left = self._store.count_files([root for root in numbers if not self._source.exists(root)])
        emptied = sorted(root for root, number in left.items() if 0 < number <= numbers[root])
        folders = self._store.known_folders(emptied)
        return [
            RootSurvey(root, left[root], exists=False, missing=self._files_in(below(folders, root)), has_moved=True)
            for root in emptied
        ]

    def _plan(self, scanned: ScannedFolder, known: Mapping[bytes, KnownFile], survey: RootSurvey) -> dict[int, bytes]:
        """Plan a folder, and record what is to be done; return the known files that were not scanned."""
        plan = plan_folder(scanned, known, self._context.read_all)
        survey.scanned += plan.scanned
        survey.unchanged += plan.unchanged
        survey.failed += plan.still_failed + len(plan.result.failed)
        result = plan.result
        survey.changes += len(result.pending) + sum(not _has_failed(known.get(name)) for name in result.failed)
        if result.pending or result.failed or result.restamped or (scanned.entries and result.listing):
            self._add(result)
        return self._present(scanned.path, {name: known[name] for name in plan.missing})

    def _judge(self, unseen: Mapping[int, bytes], survey: RootSurvey) -> None:
        """Sort known files that the scan did not find: they are missing, left out, or belong to another root."""
        others = PathSet(self._inner_roots - self.absorbed - self._listed)
        for file_id, path in unseen.items():
            if others.covers(path):
                continue
            if file_id in self._without_image:
                survey.obsolete.add(file_id)
            elif self._source.is_folder(path):
                survey.replaced.add(file_id)
            elif self._source.has_file(path):
                survey.left_out.add(file_id)
            else:
                survey.missing[file_id] = path

    def _note_skipped(self, scanned: ScannedFolder) -> None:
        """Count what the scan of a folder passed over, and log it by name."""
        self.system_entries.update(scanned.system_entries)
        self.skipped.update(kind for _, kind in scanned.skipped)
        if _log.isEnabledFor(logging.DEBUG):
            for name, kind in (*scanned.skipped, *((name, "system") for name in scanned.system_entries)):
                _log.debug("Passed over %r (%s).", os.fsdecode(os.path.join(scanned.path, name)), kind)

    def _absorb(self, scanned: ScannedFolder) -> None:
        """Note the other roots that this scan finds as any folder or file."""
        if not self._inner_roots:
            return
        if scanned.path in self._inner_roots:
            self.absorbed.add(scanned.path)
        names = {name for name, *_ in scanned.entries} if scanned.path in self._inner_files else set()
        for name in self._inner_files.get(scanned.path, ()):
            path = os.path.join(scanned.path, name)
            if not self._source.is_folder(path):
                self._listed.add(path)
            if name in names and self._context.options.find_at_any_size(name):
                self.absorbed.add(path)

    def _add(self, result: FolderScanResult) -> None:
        self._results.append(result._replace(source=self._source.name_of(result.folder)))
        self._rows += 1 + len(result.pending) + len(result.failed) + len(result.restamped)
        if self._rows >= _SCAN_COMMIT_ROWS:
            self._record()

    def _record(self) -> None:
        self._store.record_scan(self._context.run_id, self._results)
        self._results, self._rows = [], 0

    def _show(self, survey: RootSurvey) -> None:
        self._context.progress.scanning(self._scanned + survey.scanned)

    def _indexed_as_files(self, folder: bytes, paths: Sequence[bytes]) -> dict[int, bytes]:
        """Return the known files among some paths in a folder."""
        names = [os.path.basename(path) for path in paths]
        return self._present(folder, self._store.known_files(folder, self._context.run_id, names))

    def _files_in(self, folders: Iterable[bytes]) -> dict[int, bytes]:
        """Return the known files directly in some folders that were not missing before."""
        files: dict[int, bytes] = {}
        for folder in folders:
            files |= self._present(folder, self._store.known_files(folder, self._context.run_id))
        return files

    def _present(self, folder: bytes, known: Mapping[bytes, KnownFile]) -> dict[int, bytes]:
        """Return the paths of the files that were not missing before, by id."""
        present = {name: file for name, file in known.items() if file.state is not FileState.GONE}
        self._without_image |= {file.id for file in present.values() if _has_failed(file) and file.stamp == _NO_STAMP}
        return {file.id: os.path.join(folder, name) for name, file in present.items()}

    def _unlistable(self, folder: bytes, problem: Failure, survey: RootSurvey, unseen: dict[int, bytes]) -> FolderScanResult:
        """Record a folder that cannot be listed as a failed file. The files below it do not count as missing."""
        parent, name = os.path.split(folder)
        known = self._store.known_files(parent, self._context.run_id, [name]).get(name)
        if known:
            unseen.pop(known.id, None)
        survey.failed += folder not in self.unlisted
        survey.changes += not _has_failed(known)
        self.unlisted[folder] = problem.reason
        return FolderScanResult(parent, {}, {name: (_NO_STAMP, problem)})


def _has_failed(file: KnownFile | None) -> bool:
    return file is not None and file.state is FileState.FAILED


def _is_unchanged(scanned: ScannedFolder, known_folders: Set[bytes], known_digests: Mapping[bytes, bytes]) -> bool:
    """Return whether a folder can be skipped: it is empty and unknown, or its listing did not change."""
    if not scanned.entries:
        return scanned.path not in known_folders
    return scanned.whole and scanned.path in known_digests and scanned.listing() == known_digests[scanned.path]
