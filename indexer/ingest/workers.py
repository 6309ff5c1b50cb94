"""Pending files to committed predictions: workers read, hash and decode; in batches they find faces and classify; each batch is
one commit.

No bytes are classified twice: a digest is claimed by the first worker that meets it, and files that hold the same bytes wait for
its result.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from math import ceil
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from indexer.domain.errors import ImageError, Interrupted
from indexer.domain.files import Failure
from indexer.domain.images import DecodedImage
from indexer.ports.store_writer import AnalyzedFileSet, CommitBatch, PendingFile
from indexer.system.digest import digest
from indexer.system.safe_read import read

if TYPE_CHECKING:
    from indexer.analysis.analyzer import AnalyzedImage, Analyzer
    from indexer.ports.store_writer import StoreWriter

_COMMIT_EVERY_FILES = 512
_PENDING_PAGE_ROWS = 1024


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A picture that has to be classified; its digest is claimed."""

    file: PendingFile
    image: DecodedImage


@dataclass(frozen=True, slots=True)
class _AlreadyPredicted:
    """A file whose bytes the model has already seen."""

    file: PendingFile
    digest: bytes


@dataclass(frozen=True, slots=True)
class _DuplicateInFlight:
    """A file whose bytes somebody else has claimed."""

    file: PendingFile
    digest: bytes


@dataclass(frozen=True, slots=True)
class _FailedFile:
    """A file that is no readable picture. `digest` is set where the bytes were read, and is claimed."""

    file: PendingFile
    failure: Failure
    digest: bytes | None


@dataclass(frozen=True, slots=True)
class _ClassifiedBatch:
    """A batch with what the model says of each picture; None for one that it has no finite answer for."""

    batch: Sequence[_Decoded]
    regions: Sequence[AnalyzedImage | None]


_Outcome = _Decoded | _AlreadyPredicted | _DuplicateInFlight | _FailedFile | None


@dataclass(slots=True)
class _DigestClaims:
    """Which digests are being worked on, and, where everything is computed anew, which are finished."""

    remember: bool
    _held: set[bytes] = field(default_factory=set)
    _finished: set[bytes] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, key: bytes) -> bool:
        with self._lock:
            if key in self._held:
                return False
            self._held.add(key)
            return True

    def release(self, key: bytes, finished: bool = False) -> None:
        with self._lock:
            self._held.discard(key)
            if finished and self.remember:
                self._finished.add(key)

    def finished(self, key: bytes) -> bool:
        return key in self._finished

    def holds(self, key: bytes) -> bool:
        return key in self._held


class WorkerPool:
    """The work of one run. `counts` holds indexed, reused and failed files so far, all of them committed."""

    def __init__(self, catalog: StoreWriter, reader: Analyzer, run_id: int, workers: int, recompute: bool) -> None:
        self.counts: Counter[str] = Counter()
        self._catalog = catalog
        self._reader = reader
        self._run_id = run_id
        self._workers = workers
        self._recompute = recompute
        self._claims = _DigestClaims(remember=recompute)
        self._ready: list[_Decoded] = []
        self._predicted: list[AnalyzedFileSet] = []
        self._linked: list[_AlreadyPredicted] = []
        self._failed: list[_FailedFile] = []
        self._twins: dict[bytes, list[PendingFile]] = defaultdict(list)

    def run(self, roots: Sequence[bytes], check_stop: Callable[[], None]) -> Iterator[tuple[int, int]]:
        """Work through everything that waits under the roots; yields (files finished, of them failed) after every commit.

        Workers take what comes first, a file to decode or a batch to look at, so that every core is busy whichever takes longer.
        This thread only hands out and commits.
        """
        batch_size, streams = self._reader.classifier.batch_size, self._reader.classifier.streams
        at_once = streams or self._workers
        lookahead = batch_size * (at_once + 1) + 2 * self._workers
        finished: SimpleQueue[Future[Any]] = SimpleQueue()
        waiting = self._pages(roots)
        again: list[PendingFile] = []
        decoding = looking = 0
        is_ending = False
        with ThreadPoolExecutor(self._workers + streams, thread_name_prefix="work") as pool:
            try:
                while True:
                    while decoding + len(self._ready) + looking * batch_size < lookahead:
                        file = again.pop() if again else next(waiting, None)
                        if file is None:
                            is_ending = True
                            break
                        pool.submit(self._read_and_decode, file).add_done_callback(finished.put)
                        decoding += 1
                    # Of the last ones each worker takes its share of what is left, so that none looks at a whole batch while the
                    # others have nothing to do (guided self-scheduling: Polychronopoulos and Kuck 1987).
                    left = decoding + len(self._ready)
                    share = min(batch_size, ceil(left / at_once)) if is_ending else batch_size
                    while looking < at_once and self._ready and (decoding == 0 or len(self._ready) >= share):
                        batch, self._ready = self._ready[:share], self._ready[share:]
                        pool.submit(self._classify, batch).add_done_callback(finished.put)
                        looking += 1
                    if (
                        self._predicted
                        or self._pending_commits() >= _COMMIT_EVERY_FILES
                        or (decoding + looking == 0 and self._pending_commits())
                    ):
                        yield self._commit()
                        check_stop()
                    elif decoding + looking == 0:
                        return
                    else:
                        outcome: _Outcome | _ClassifiedBatch = finished.get().result()
                        if isinstance(outcome, _ClassifiedBatch):
                            looking -= 1
                            again += self._handle_batch(outcome)
                        else:
                            decoding -= 1
                            again += self._handle_file(outcome)
            except Interrupted:
                pool.shutdown(wait=True, cancel_futures=True)
                self._commit_finished(finished)
                raise
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _commit_finished(self, finished: SimpleQueue[Future[Any]]) -> None:
        """Commit the batches that were looked at while the run was being stopped."""
        while not finished.empty():
            future = finished.get()
            if not future.cancelled() and isinstance(looked := future.result(), _ClassifiedBatch):
                self._handle_batch(looked)
        if self._predicted:
            self._commit()

    def _pages(self, roots: Sequence[bytes]) -> Iterator[PendingFile]:
        after = 0
        while page := self._catalog.pending(roots, after, _PENDING_PAGE_ROWS):
            yield from page
            after = page[-1].id

    def _read_and_decode(self, file: PendingFile) -> _Outcome:
        """Runs in the workers: read, hash, decode."""
        key = None
        try:
            data, stamp = read(file.path)
            file = file._replace(stamp=stamp)
            key = digest(data)
            if not self._claims.take(key):
                return _DuplicateInFlight(file, key)
            if self._claims.finished(key) or (not self._recompute and self._catalog.has_prediction(key, self._run_id)):
                self._claims.release(key)
                return _AlreadyPredicted(file, key)
            return _Decoded(file, self._reader.decode(data))
        except FileNotFoundError:
            return None  # deleted since the scan: the next scan will say so
        except ImageError as error:
            return _FailedFile(file, Failure(error.kind, str(error)), key)

    def _handle_file(self, outcome: _Outcome) -> list[PendingFile]:
        """Take in one outcome; returns files that have to be looked into again."""
        match outcome:
            case _Decoded():
                self._ready.append(outcome)
            case _AlreadyPredicted(_, key):
                self._linked.append(outcome)
                return self._twins.pop(key, [])
            case _FailedFile():
                self._failed.append(outcome)
                if outcome.digest:
                    self._claims.release(outcome.digest)
                    return self._twins.pop(outcome.digest, [])
            case _DuplicateInFlight(file, key):
                if not self._claims.holds(key):
                    return [file]
                self._twins[key].append(file)
            case None:
                pass
        return []

    def _pending_commits(self) -> int:
        return len(self._linked) + len(self._failed)

    def _classify(self, batch: Sequence[_Decoded]) -> _ClassifiedBatch:
        """Runs in the workers: find faces, classify."""
        return _ClassifiedBatch(batch, self._reader.predict([entry.image for entry in batch]))

    def _handle_batch(self, looked: _ClassifiedBatch) -> list[PendingFile]:
        """Take in a batch; returns files that turned out to be twins of a failure."""
        again: list[PendingFile] = []
        for entry, regions in zip(looked.batch, looked.regions, strict=True):
            if regions is None:
                failure = Failure("damaged", "the model gives no finite answer for it")
                again += self._handle_file(_FailedFile(entry.file, failure, entry.image.digest))
            else:
                twins = self._twins.pop(entry.image.digest, [])
                self._predicted.append(AnalyzedFileSet(entry.image, regions, (entry.file, *twins)))
        return again

    def _commit(self) -> tuple[int, int]:
        """Commit what is known by now."""
        predicted, self._predicted = self._predicted, []
        linked, self._linked = self._linked, []
        failed, self._failed = self._failed, []
        self._catalog.commit(
            self._run_id,
            CommitBatch(
                tuple(predicted),
                tuple((known.file, known.digest) for known in linked),
                tuple((failure.file, failure.failure) for failure in failed),
            ),
        )
        # Only now: whoever meets these bytes from here on finds them in the store.
        for computed in predicted:
            self._claims.release(computed.image.digest, finished=True)
        twins_linked = sum(len(computed.files) - 1 for computed in predicted)
        self.counts.update(indexed=len(predicted), reused=len(linked) + twins_linked, failed=len(failed))
        return len(predicted) + twins_linked + len(linked) + len(failed), len(failed)
