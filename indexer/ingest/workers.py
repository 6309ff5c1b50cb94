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
from indexer.domain.models import DecodedImage, Failure
from indexer.imaging.decode import digest
from indexer.ports import Batch, PendingFile, Predicted
from indexer.system.safe_read import read

if TYPE_CHECKING:
    from indexer.analysis.analyzer import Reader, Regions
    from indexer.ports import Catalog

_COMMIT_AT = 512
_PAGE = 1024


@dataclass(frozen=True, slots=True)
class _Ready:
    """A picture that has to be classified; its digest is claimed."""

    file: PendingFile
    image: DecodedImage


@dataclass(frozen=True, slots=True)
class _Known:
    """A file whose bytes the model has already seen."""

    file: PendingFile
    digest: bytes


@dataclass(frozen=True, slots=True)
class _Twin:
    """A file whose bytes somebody else has claimed."""

    file: PendingFile
    digest: bytes


@dataclass(frozen=True, slots=True)
class _Failed:
    """A file that is no readable picture. `digest` is set where the bytes were read, and is claimed."""

    file: PendingFile
    failure: Failure
    digest: bytes | None


@dataclass(frozen=True, slots=True)
class _Looked:
    """A batch with what the model says of each picture; None for one that it has no finite answer for."""

    batch: Sequence[_Ready]
    regions: Sequence[Regions | None]


_Outcome = _Ready | _Known | _Twin | _Failed | None


@dataclass(slots=True)
class _Claims:
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


class Work:
    """The work of one run. `counts` holds indexed, reused and failed files so far, all of them committed."""

    def __init__(self, catalog: Catalog, reader: Reader, run_id: int, workers: int, recompute: bool) -> None:
        self.counts: Counter[str] = Counter()
        self._catalog = catalog
        self._reader = reader
        self._run_id = run_id
        self._workers = workers
        self._recompute = recompute
        self._claims = _Claims(remember=recompute)
        self._ready: list[_Ready] = []
        self._predicted: list[Predicted] = []
        self._linked: list[_Known] = []
        self._failed: list[_Failed] = []
        self._twins: dict[bytes, list[PendingFile]] = defaultdict(list)

    def through(self, roots: Sequence[bytes], check_stop: Callable[[], None]) -> Iterator[tuple[int, int]]:
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
                        pool.submit(self._look_into, file).add_done_callback(finished.put)
                        decoding += 1
                    # Of the last ones each worker takes its share of what is left, so that none looks at a whole batch while the
                    # others have nothing to do (guided self-scheduling: Polychronopoulos and Kuck 1987).
                    left = decoding + len(self._ready)
                    share = min(batch_size, ceil(left / at_once)) if is_ending else batch_size
                    while looking < at_once and self._ready and (decoding == 0 or len(self._ready) >= share):
                        batch, self._ready = self._ready[:share], self._ready[share:]
                        pool.submit(self._look_at, batch).add_done_callback(finished.put)
                        looking += 1
                    if self._predicted or self._settled() >= _COMMIT_AT or (decoding + looking == 0 and self._settled()):
                        yield self._commit()
                        check_stop()
                    elif decoding + looking == 0:
                        return
                    else:
                        outcome: _Outcome | _Looked = finished.get().result()
                        if isinstance(outcome, _Looked):
                            looking -= 1
                            again += self._take(outcome)
                        else:
                            decoding -= 1
                            again += self._sort(outcome)
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
            if not future.cancelled() and isinstance(looked := future.result(), _Looked):
                self._take(looked)
        if self._predicted:
            self._commit()

    def _pages(self, roots: Sequence[bytes]) -> Iterator[PendingFile]:
        after = 0
        while page := self._catalog.pending(roots, after, _PAGE):
            yield from page
            after = page[-1].id

    def _look_into(self, file: PendingFile) -> _Outcome:
        """Runs in the workers: read, hash, decode."""
        key = None
        try:
            data, stamp = read(file.path)
            file = file._replace(stamp=stamp)
            key = digest(data)
            if not self._claims.take(key):
                return _Twin(file, key)
            if self._claims.finished(key) or (not self._recompute and self._catalog.is_predicted(key, self._run_id)):
                self._claims.release(key)
                return _Known(file, key)
            return _Ready(file, self._reader.decode(data))
        except FileNotFoundError:
            return None  # deleted since the scan: the next scan will say so
        except ImageError as error:
            return _Failed(file, Failure(error.kind, str(error)), key)

    def _sort(self, outcome: _Outcome) -> list[PendingFile]:
        """Take in one outcome; returns files that have to be looked into again."""
        match outcome:
            case _Ready():
                self._ready.append(outcome)
            case _Known(_, key):
                self._linked.append(outcome)
                return self._twins.pop(key, [])
            case _Failed():
                self._failed.append(outcome)
                if outcome.digest:
                    self._claims.release(outcome.digest)
                    return self._twins.pop(outcome.digest, [])
            case _Twin(file, key):
                if not self._claims.holds(key):
                    return [file]
                self._twins[key].append(file)
            case None:
                pass
        return []

    def _settled(self) -> int:
        return len(self._linked) + len(self._failed)

    def _look_at(self, batch: Sequence[_Ready]) -> _Looked:
        """Runs in the workers: find faces, classify."""
        return _Looked(batch, self._reader.predict([entry.image for entry in batch]))

    def _take(self, looked: _Looked) -> list[PendingFile]:
        """Take in a batch; returns files that turned out to be twins of a failure."""
        again: list[PendingFile] = []
        for entry, regions in zip(looked.batch, looked.regions, strict=True):
            if regions is None:
                failure = Failure("damaged", "the model gives no finite answer for it")
                again += self._sort(_Failed(entry.file, failure, entry.image.digest))
            else:
                twins = self._twins.pop(entry.image.digest, [])
                self._predicted.append(Predicted(entry.image, regions, (entry.file, *twins)))
        return again

    def _commit(self) -> tuple[int, int]:
        """Commit what is known by now."""
        predicted, self._predicted = self._predicted, []
        linked, self._linked = self._linked, []
        failed, self._failed = self._failed, []
        self._catalog.commit(
            self._run_id,
            Batch(
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
