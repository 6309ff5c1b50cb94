"""The workers of a run: threads decode and classify, and one thread coordinates them and commits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from indexer.domain.errors import ImageError, Interrupted
from indexer.domain.files import Failure
from indexer.domain.path_set import PathSet
from indexer.domain.runs import RunCounts
from indexer.ingest.coordinator import (
    AlreadyPredicted,
    Claims,
    ClassifiedBatch,
    ClassifyBatch,
    Coordinator,
    Decoded,
    Done,
    DuplicateInFlight,
    FailedFile,
    FileResult,
    Vanished,
    Wait,
    WorkItem,
    WorkResult,
)
from indexer.ports.store_writer import CommitBatch, PendingFile
from indexer.system.digest import digest

if TYPE_CHECKING:
    from indexer.ingest.analyzer_group import AnalyzerGroup
    from indexer.ports.executor import Executor, OpenExecutor
    from indexer.ports.sources import ImageSource
    from indexer.ports.store_writer import StoreWriter

_PENDING_PAGE_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Worker:
    """Reads, decodes and classifies for one run. Thread-safe.

    `unpredicted`: the positions of the analyzers that have to classify the image with a digest.
    """

    source: ImageSource
    analyzers: AnalyzerGroup
    unpredicted: Callable[[bytes], Sequence[int]]
    claims: Claims

    def perform(self, item: WorkItem) -> WorkResult:
        """Perform one item and return its result."""
        if isinstance(item, ClassifyBatch):
            return ClassifiedBatch(item.images, self.analyzers.predict([decoded.images for decoded in item.images]))
        return self._decode(item.file)

    def _decode(self, file: PendingFile) -> FileResult:
        claimed = None
        try:
            data, stamp = self.source.read(file.path)
            file = file._replace(stamp=stamp)
            claimed = digest(data)
            if not self.claims.take(claimed):
                return DuplicateInFlight(file, claimed)
            positions = () if self.claims.finished(claimed) else self.unpredicted(claimed)
            if not positions:
                self.claims.release(claimed)
                return AlreadyPredicted(file, claimed)
            return Decoded(file, self.analyzers.decode(data, positions))
        except FileNotFoundError:
            return Vanished(file)
        except ImageError as error:
            return FailedFile(file, Failure(error.kind, str(error)), claimed)


@dataclass(frozen=True, slots=True)
class Queue:
    """The pending files of a run in the store, and its commits."""

    store: StoreWriter
    run_id: int
    roots: Sequence[bytes]

    def pending(self) -> Iterator[PendingFile]:
        """Yield every pending file below the roots."""
        roots, after = PathSet(self.roots), 0
        while page := self.store.pending(roots, after, _PENDING_PAGE_ROWS):
            yield from page
            after = page[-1].id

    def commit(self, batch: CommitBatch) -> RunCounts:
        """Commit a batch; return the counts of the labels that moved."""
        labels = self.store.commit(self.run_id, batch)
        return RunCounts(labels_followed=labels.followed, labels_orphaned=labels.orphaned)


def work_through(
    queue: Queue, worker: Worker, open_executor: OpenExecutor, workers: int, check_stop: Callable[[], None]
) -> Iterator[RunCounts]:
    """Analyze every pending file of a queue; yield the counts of each commit.

    Each worker decodes a file or classifies a batch, whichever comes first, so that no core is idle if one of them takes longer.
    """
    with open_executor(worker.perform, workers + worker.analyzers.streams) as executor:
        yield from drive(coordinator_for(queue.pending(), worker, workers), executor, queue.commit, check_stop)


def coordinator_for(pending: Iterator[PendingFile], worker: Worker, workers: int) -> Coordinator:
    """Return the coordinator of the work of threads on some files."""
    group = worker.analyzers
    return Coordinator(pending, worker.claims, group.batch_size, group.streams or workers, workers)


def drive(
    coordinator: Coordinator,
    executor: Executor[WorkItem, WorkResult],
    commit: Callable[[CommitBatch], RunCounts],
    check_stop: Callable[[], None],
) -> Iterator[RunCounts]:
    """Carry out what a coordinator decides, by an executor; yield the counts of each commit."""

    def committed(batch: CommitBatch) -> RunCounts:
        labels = commit(batch)
        return coordinator.committed(batch) + labels

    try:
        while not isinstance(action := coordinator.next_action(), Done):
            if isinstance(action, CommitBatch):
                yield committed(action)
                check_stop()
            elif isinstance(action, Wait):
                coordinator.add_result(executor.next_result())
            else:
                executor.submit(action)
    except Interrupted:
        # Workers finish their batches after a stop: commit them, so that the next run does not classify them again.
        for result in executor.stop():
            coordinator.add_result(result)
        if (last := coordinator.take_predicted()) is not None:
            yield committed(last)
        raise
