"""Index runs on a cluster: its workers analyze pages of files, as threads do on one machine, and this process commits."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.errors import ImageError, ModelUnavailable, Unavailable, Unreadable
from indexer.domain.files import Failure
from indexer.domain.runs import RunCounts
from indexer.ingest.analyzer_group import AnalyzerGroup
from indexer.ingest.claims import ClaimRegister, PageClaims, RunClaims
from indexer.ingest.coordinator import AnalyzedPage, Coordinator, DecodeFile, DuplicateInFlight, Vanished, WorkItem, WorkResult
from indexer.ingest.workers import Queue, Worker, coordinator_for, drive
from indexer.ports.store_writer import CommitBatch, PendingFile
from indexer.system.text import display_path

if TYPE_CHECKING:
    from indexer.domain.images import DecodedImage
    from indexer.library import Library
    from indexer.ports.analyzer import Analyzer
    from indexer.ports.cluster import Cluster, SharedObject
    from indexer.ports.executor import Executor, OpenExecutor
    from indexer.ports.sources import ImageSource

PAGE_FILES = 32
"""Files that a worker analyzes together: a worker that dies loses this many. Ray sends results below 100 KB at once."""

WAVE_FILES = 1 << 18
"""Files that are handed to the cluster at the same time: this process keeps about half a kilobyte for each."""

_LEAST_PAGES_AHEAD = 3
"""Results that may wait for this process, if there are fewer workers; else one for each worker. They are lost if it dies."""

_WAIT_SECONDS = 0.05
_MOST_WAIT_SECONDS = 60.0
"""A worker does not wait longer to begin a page: pages of workers that died may stand behind it, and are counted as begun."""

_FILE_ATTEMPTS = 2
_SUSPECT_FILES = 8
"""A worker that can read none of this many files may be on a machine that has no access to them."""

_NO_PIXELS = np.zeros((0, 0, 3), dtype=np.uint8)


def work_on_cluster(
    libraries: Sequence[Library], cluster: Cluster, analyzers: AnalyzerGroup, check_stop: Callable[[], None]
) -> Callable[[Queue, bool], Iterator[RunCounts]]:
    """Return the function that analyzes every pending file of a queue by the workers of a cluster.

    `libraries` are the same library with each of the models, and `analyzers` describe these. The function yields the counts of
    each commit; its second argument is whether images are classified again. It raises Unavailable if another machine cannot read
    the files that this one reads, and ModelUnavailable if it has another model.
    """
    library, parts = libraries[0], [each.cluster for each in libraries if each.cluster is not None]
    analysis = PageAnalysis(
        open_analyzers=tuple(part.open_analyzer for part in parts),
        open_source=parts[0].open_source,
        open_executor=library.open_executor,
        expected=_keys(analyzers),
        device=cluster.plan.device,
        threads=cluster.plan.cpus,
    )

    def work(queue: Queue, recompute: bool) -> Iterator[RunCounts]:
        recomputing = range(len(analyzers.analyzers)) if recompute else ()
        most_pages = cluster.plan.workers + max(cluster.plan.workers, _LEAST_PAGES_AHEAD)
        register = cluster.share(partial(ClaimRegister, library.database, queue.run_id, recomputing, most_pages))
        coordinator = Coordinator(queue.pending(), RunClaims(register), PAGE_FILES, batches=1, workers=0, lookahead=WAVE_FILES)
        with cluster.open_executor(partial(analysis.open, register), PAGE_FILES) as pages:
            yield from drive(coordinator, _ReceivedPages(pages, register, library.source), queue.commit, check_stop)

    return work


def _keys(analyzers: AnalyzerGroup) -> tuple[tuple[str, str | None], ...]:
    """Return the keys of the model and of the face detector of each analyzer."""
    return tuple((analyzer.classifier.card.key, analyzer.detector_key) for analyzer in analyzers.analyzers)


class _ReceivedPages:
    """Implements `indexer.ports.executor.Executor` by another one, whose machines must find the files that this one finds."""

    def __init__(self, pages: Executor[WorkItem, AnalyzedPage], register: SharedObject, source: ImageSource) -> None:
        self._pages, self._register, self._source = pages, register, source
        self.submit = pages.submit

    def next_result(self) -> AnalyzedPage:
        return self._received(self._pages.next_result())

    def stop(self) -> Iterator[WorkResult]:
        return map(self._received, self._pages.stop())

    def _received(self, page: AnalyzedPage) -> AnalyzedPage:
        self._register.tell("end", page.number)  # not earlier: a result that is lost with its machine is computed again
        unreadable = [(file, failure.reason) for file, failure in page.analyzed.failed if failure.kind == Unreadable.kind]
        if len(unreadable) == page.files >= _SUSPECT_FILES and self._can_read(unreadable[0][0]):
            raise _no_access(page.node, *unreadable[0])
        for file in page.vanished:
            if self._source.has_file(file.path) and self._can_read(file):
                raise _no_access(page.node, file, "it does not exist there")
        return page

    def _can_read(self, file: PendingFile) -> bool:
        try:
            self._source.stamp(file.path)
        except (ImageError, FileNotFoundError):
            return False
        return True


def _no_access(node: str, file: PendingFile, reason: str) -> Unavailable:
    return Unavailable(
        f"The machine {node} cannot read {display_path(file.path)}, which this machine reads: {reason}. Every machine needs the "
        "same folders under the same paths, or the same access to the bucket: workers have the environment of the command that "
        "started their part of the cluster. Then run the same command again."
    )


@dataclass(frozen=True, slots=True)
class PageAnalysis:
    """What a worker of a cluster needs to analyze pages; it is sent there and opened once.

    - `open_analyzers`: open the analyzers of the run for a device. `expected` are the keys of their models and face detectors.
    - `threads`: the number of threads that decode and classify.
    """

    open_analyzers: tuple[Callable[[str], Analyzer], ...]
    open_source: Callable[[], ImageSource]
    open_executor: OpenExecutor
    expected: tuple[tuple[str, str | None], ...]
    device: str
    threads: int

    def open(self, register: SharedObject) -> Callable[[int, Sequence[WorkItem]], AnalyzedPage]:
        """Open the analyzers; return the function that analyzes a page. Raises ModelUnavailable if they are not as expected."""
        analyzers = AnalyzerGroup(tuple(open_analyzer(self.device) for open_analyzer in self.open_analyzers))
        for analyzer, found, expected in zip(analyzers.analyzers, _keys(analyzers), self.expected, strict=True):
            if found != expected:
                raise ModelUnavailable(
                    f"The model {analyzer.classifier.card.name!r} or the face detector differs there from that of this machine. "
                    "Install the same moodex and the same models on every machine."
                )
        return _PageAnalyst(analyzers, self.open_source(), self.open_executor, self.threads, register).analyze


@dataclass(frozen=True, slots=True)
class _PageAnalyst:
    analyzers: AnalyzerGroup
    source: ImageSource
    open_executor: OpenExecutor
    threads: int
    register: SharedObject

    def analyze(self, page: int, items: Sequence[WorkItem]) -> AnalyzedPage:
        """Analyze the files of a page. If an earlier attempt ended its worker, analyze one file after another.

        A file that was analyzed alone when two workers ended fails.
        """
        files = [item.file for item in items if isinstance(item, DecodeFile)]
        attempt, former = self._begin(page)
        claims = PageClaims(self.register, page, former)
        work = _PageWork(Worker(self.source, self.analyzers, claims.positions, claims), self.open_executor, self.threads)
        if attempt == 1:
            work.analyze(files)
        else:
            for file in files:
                if self.register.call("begin_file", file.id) > _FILE_ATTEMPTS:
                    work.fail(file)
                else:
                    work.analyze([file])
                    self.register.tell("end_file", file.id)
        return work.result(page, len(files), claims)

    def _begin(self, page: int) -> tuple[int, frozenset[bytes]]:
        """Begin a page, as soon as this process may be that far ahead of the one that commits."""
        deadline = time.monotonic() + _MOST_WAIT_SECONDS
        while True:
            begun: tuple[int, frozenset[bytes]] | None = self.register.call("begin", page, time.monotonic() > deadline)
            if begun is not None:
                return begun
            time.sleep(_WAIT_SECONDS)


class _PageWork:
    """The work on one page, and its results."""

    def __init__(self, worker: Worker, open_executor: OpenExecutor, threads: int) -> None:
        self._worker, self._open_executor, self._threads = worker, open_executor, threads
        self._batches: list[CommitBatch] = []
        self._duplicates: list[DuplicateInFlight] = []
        self._vanished: list[PendingFile] = []

    def analyze(self, files: Sequence[PendingFile]) -> None:
        coordinator = coordinator_for(iter(files), self._worker, self._threads)
        with self._open_executor(self._perform, self._threads + self._worker.analyzers.streams) as executor:
            for _ in drive(coordinator, executor, self._keep, check_stop=_never_stop):
                pass
        self._duplicates += coordinator.take_duplicates()

    def fail(self, file: PendingFile) -> None:
        reason = f"{_FILE_ATTEMPTS} workers ended while they analyzed it; their machines may have too little memory"
        self._batches.append(CommitBatch(failed=((file, Failure(Unreadable.kind, reason)),)))

    def result(self, number: int, files: int, claims: PageClaims) -> AnalyzedPage:
        predicted = [entry._replace(image=_without_pixels(entry.image)) for batch in self._batches for entry in batch.predicted]
        linked = tuple(entry for batch in self._batches for entry in batch.linked)
        failed = tuple(entry for batch in self._batches for entry in batch.failed)
        return AnalyzedPage(
            number=number,
            files=files,
            analyzed=CommitBatch(tuple(predicted), linked, failed),
            duplicates=tuple(self._duplicates),
            vanished=tuple(self._vanished),
            released=claims.unpredicted(),
            node=platform.node(),
        )

    def _perform(self, item: WorkItem) -> WorkResult:
        result = self._worker.perform(item)
        if isinstance(result, Vanished):
            self._vanished.append(result.file)
        return result

    def _keep(self, batch: CommitBatch) -> RunCounts:
        self._batches.append(batch)
        return RunCounts()


def _never_stop() -> None:
    """Do not stop: the worker ends if the run does."""


def _without_pixels(image: DecodedImage) -> DecodedImage:
    return replace(image, pixels=_NO_PIXELS, later=())
