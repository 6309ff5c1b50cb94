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
    ClassifiedBatch,
    ClassifyBatch,
    Coordinator,
    Decoded,
    DigestClaims,
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
    from indexer.ports.executor import OpenExecutor
    from indexer.ports.sources import ImageSource
    from indexer.ports.store_writer import StoreWriter

_PENDING_PAGE_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Worker:
    """Reads, decodes and classifies for one run. Thread-safe. With `recompute`, images are classified again."""

    store: StoreWriter
    run_id: int
    source: ImageSource
    analyzers: AnalyzerGroup
    recompute: bool
    claims: DigestClaims

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
            positions = self._positions_to_predict(claimed)
            if not positions:
                self.claims.release(claimed)
                return AlreadyPredicted(file, claimed)
            return Decoded(file, self.analyzers.decode(data, positions))
        except FileNotFoundError:
            return Vanished()
        except ImageError as error:
            return FailedFile(file, Failure(error.kind, str(error)), claimed)

    def _positions_to_predict(self, digest: bytes) -> Sequence[int]:
        """Return the positions of the analyzers that have to classify an image."""
        if self.claims.finished(digest):
            return ()
        return range(len(self.analyzers.analyzers)) if self.recompute else self.store.unpredicted(digest, self.run_id)


def work_through(
    roots: Sequence[bytes],
    worker: Worker,
    open_executor: OpenExecutor,
    workers: int,
    check_stop: Callable[[], None],
) -> Iterator[RunCounts]:
    """Analyze every pending file below the roots; yield the counts of each commit.

    Each worker decodes a file or classifies a batch, whichever comes first, so that no core is idle if one of them takes longer.
    """
    classifiers = [analyzer.classifier for analyzer in worker.analyzers.analyzers]
    streams = max(classifier.streams for classifier in classifiers)
    batches = streams or workers
    batch_size = min(classifier.batch_size for classifier in classifiers)
    pending = _pending_files(worker.store, PathSet(roots))
    coordinator = Coordinator(pending, worker.claims, batch_size, batches, workers)

    def commit(batch: CommitBatch) -> RunCounts:
        labels = worker.store.commit(worker.run_id, batch)
        counts = coordinator.committed(batch)
        return counts + RunCounts(labels_followed=labels.followed, labels_orphaned=labels.orphaned)

    with open_executor(worker.perform, workers + streams) as executor:
        try:
            while not isinstance(action := coordinator.next_action(), Done):
                if isinstance(action, CommitBatch):
                    yield commit(action)
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
                yield commit(last)
            raise


def _pending_files(store: StoreWriter, roots: PathSet) -> Iterator[PendingFile]:
    after = 0
    while page := store.pending(roots, after, _PENDING_PAGE_ROWS):
        yield from page
        after = page[-1].id
