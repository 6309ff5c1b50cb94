"""The coordinator of an index run: decides which file to decode, which batch to classify and what to commit.

It reads no files and starts no threads. The same bytes are classified only once: the first worker that reads them claims their
digest, and other files with the same bytes wait for its result.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, NamedTuple, Protocol

from indexer.domain.files import Failure
from indexer.domain.runs import RunCounts
from indexer.ports.store_writer import AnalyzedFileSet, CommitBatch, PendingFile

if TYPE_CHECKING:
    from indexer.domain.images import DecodedImage
    from indexer.domain.predictions import AnalyzedImage

_COMMIT_EVERY_FILES = 512


class Decoded(NamedTuple):
    """An image that has to be classified; its digest is claimed.

    `images` are the decoded image for each analyzer without predictions of it, by position; at least one.
    """

    file: PendingFile
    images: Mapping[int, DecodedImage]

    @property
    def image(self) -> DecodedImage:
        """The decoded image for one of the analyzers; they differ only in their pixels."""
        return next(iter(self.images.values()))


class AlreadyPredicted(NamedTuple):
    """A file whose bytes were classified before."""

    file: PendingFile
    digest: bytes


class DuplicateInFlight(NamedTuple):
    """A file whose bytes another worker has claimed."""

    file: PendingFile
    digest: bytes


class FailedFile(NamedTuple):
    """A file that cannot be analyzed. `digest` is set, and claimed, if its bytes were read."""

    file: PendingFile
    failure: Failure
    digest: bytes | None


class Vanished(NamedTuple):
    """A file that was deleted since the scan. The next scan will find it missing."""

    file: PendingFile


FileResult = Decoded | AlreadyPredicted | DuplicateInFlight | FailedFile | Vanished


class DecodeFile(NamedTuple):
    """Read, hash and decode a file."""

    file: PendingFile


class ClassifyBatch(NamedTuple):
    """Analyze images together."""

    images: tuple[Decoded, ...]


class ClassifiedBatch(NamedTuple):
    """A batch with the predictions of each image, by the position of the analyzer; None where they are not finite."""

    images: tuple[Decoded, ...]
    predictions: Sequence[Mapping[int, AnalyzedImage | None]]


class Wait(NamedTuple):
    """Wait for a result: nothing else can be done now."""


class Done(NamedTuple):
    """Everything is committed."""


@dataclass(frozen=True, slots=True)
class AnalyzedPage:
    """The result of files that a process of a cluster read, decoded and classified, in place of the results of each.

    - `number`: that of the page; `files`: the number of its files.
    - `analyzed`: what can be committed. The images have no pixels.
    - `duplicates`: files whose bytes another page has claimed.
    - `vanished`: files that this process did not find.
    - `released`: digests that the page claimed and that it has no predictions for.
    - `node`: the name of the machine.
    """

    number: int
    files: int
    analyzed: CommitBatch
    duplicates: tuple[DuplicateInFlight, ...]
    vanished: tuple[PendingFile, ...]
    released: tuple[bytes, ...]
    node: str


WorkItem = DecodeFile | ClassifyBatch
WorkResult = FileResult | ClassifiedBatch | AnalyzedPage
Action = WorkItem | CommitBatch | Wait | Done


class HeldClaims(Protocol):
    """The claims of digests, for the coordinator."""

    def release(self, *digests: bytes, finished: bool = False) -> None:
        """End claims; `finished`: the predictions of the images are in the store."""

    def holds(self, digest: bytes) -> bool:
        """Return whether a digest is claimed."""


class Claims(HeldClaims, Protocol):
    """The claims of digests, for workers. Thread-safe."""

    def take(self, digest: bytes) -> bool:
        """Claim a digest; False if it is claimed already."""

    def finished(self, digest: bytes) -> bool:
        """Return whether a digest was finished in this run."""


@dataclass(slots=True)
class DigestClaims:
    """Implements `Claims` in one process. With `remember`, the digests that were finished are kept."""

    remember: bool
    _held: set[bytes] = field(default_factory=set)
    _finished: set[bytes] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, digest: bytes) -> bool:
        with self._lock:
            if digest in self._held:
                return False
            self._held.add(digest)
            return True

    def release(self, *digests: bytes, finished: bool = False) -> None:
        with self._lock:
            self._held.difference_update(digests)
            if finished and self.remember:
                self._finished.update(digests)

    def finished(self, digest: bytes) -> bool:
        return digest in self._finished

    def holds(self, digest: bytes) -> bool:
        return digest in self._held


class Coordinator:
    """The state of the work of one run.

    Ask for `next_action`, carry it out, and hand in the results with `add_result` and `committed`.
    """

    def __init__(
        self,
        pending: Iterator[PendingFile],
        claims: HeldClaims,
        batch_size: int,
        batches: int,
        workers: int,
        lookahead: int | None = None,
    ) -> None:
        """Coordinate the `pending` files.

        At most `batches` batches are classified at the same time. `workers` is the number of threads that decode. `lookahead` is
        the number of files that workers have at the same time; None: enough for these threads.
        """
        self._pending = pending
        self._claims = claims
        self._batch_size = batch_size
        self._batches = batches
        self._lookahead = batch_size * (batches + 1) + 2 * workers if lookahead is None else lookahead
        self._retry: list[PendingFile] = []
        self._decoding = self._classifying = 0
        self._is_ending = False
        self._full_size = 0
        self._decoded: list[Decoded] = []
        self._predicted: list[AnalyzedFileSet] = []
        self._linked: list[tuple[PendingFile, bytes]] = []
        self._failed: list[tuple[PendingFile, Failure]] = []
        self._duplicates: dict[bytes, list[PendingFile]] = defaultdict(list)

    def next_action(self) -> Action:
        """Return the next action, given the results so far."""
        if (file := self._next_file()) is not None:
            self._decoding += 1
            return DecodeFile(file)
        if batch := self._next_batch():
            self._classifying += 1
            return ClassifyBatch(batch)
        working = self._decoding + self._classifying
        unpredicted = len(self._linked) + len(self._failed)
        if self._predicted or unpredicted >= _COMMIT_EVERY_FILES or (unpredicted and not working):
            return self.take_commit()
        return Wait() if working else Done()

    def add_result(self, result: WorkResult) -> None:
        """Take in the result of a file or a batch."""
        self._full_size = 0  # compute it again for the images that remain
        if isinstance(result, ClassifiedBatch):
            self._classifying -= 1
            for image, predictions in zip(result.images, result.predictions, strict=True):
                self._add_predictions(image, predictions)
        elif isinstance(result, AnalyzedPage):
            self._decoding -= result.files
            self._add_page(result)
        else:
            self._decoding -= 1
            self._add_file(result)

    def take_commit(self) -> CommitBatch:
        """Take everything that can be committed now."""
        batch = CommitBatch(tuple(self._predicted), tuple(self._linked), tuple(self._failed))
        self._predicted, self._linked, self._failed = [], [], []
        return batch

    def take_duplicates(self) -> tuple[DuplicateInFlight, ...]:
        """Take the files that wait for the result of a file that this coordinator does not have."""
        waiting = tuple(DuplicateInFlight(file, digest) for digest, files in self._duplicates.items() for file in files)
        self._duplicates.clear()
        return waiting

    def take_predicted(self) -> CommitBatch | None:
        """Take everything that can be committed if it contains predictions, which would have to be computed again; else None."""
        return self.take_commit() if self._predicted else None

    def committed(self, batch: CommitBatch) -> RunCounts:
        """Release the digests of a batch that was committed; return its counts."""
        # Not before the commit: a worker that reads these bytes after the release must find their prediction in the store.
        self._claims.release(*(file_set.image.digest for file_set in batch.predicted), finished=True)
        duplicates = sum(len(file_set.files) - 1 for file_set in batch.predicted)
        return RunCounts(indexed=len(batch.predicted), reused=len(batch.linked) + duplicates, failed=len(batch.failed))

    def _next_file(self) -> PendingFile | None:
        if self._decoding + len(self._decoded) + self._classifying * self._batch_size >= self._lookahead:
            return None
        file = self._retry.pop() if self._retry else next(self._pending, None)
        if file is None:
            self._is_ending = True
        return file

    def _next_batch(self) -> tuple[Decoded, ...]:
        """Take a batch if it is full.

        The last batches are smaller: each worker gets its share of the remaining images, so that no worker classifies a whole
        batch while the others are idle (guided self-scheduling: Polychronopoulos and Kuck 1987).
        """
        if not self._full_size:
            remaining = self._decoding + len(self._decoded)
            self._full_size = min(self._batch_size, ceil(remaining / self._batches)) if self._is_ending else self._batch_size
        is_full = len(self._decoded) >= self._full_size or not self._decoding
        if self._classifying >= self._batches or not self._decoded or not is_full:
            return ()
        batch, self._decoded = tuple(self._decoded[: self._full_size]), self._decoded[self._full_size :]
        return batch

    def _add_file(self, result: FileResult) -> None:
        match result:
            case Decoded():
                self._decoded.append(result)
            case AlreadyPredicted(file, digest):
                self._linked.append((file, digest))
                self._retry_duplicates(digest)
            case FailedFile(file, failure, digest):
                self._failed.append((file, failure))
                if digest is not None:
                    self._claims.release(digest)
                    self._retry_duplicates(digest)
            case DuplicateInFlight(file, digest):
                if self._claims.holds(digest):
                    self._duplicates[digest].append(file)
                else:
                    self._retry.append(file)
            case Vanished():
                pass

    def _add_page(self, page: AnalyzedPage) -> None:
        for duplicate in page.duplicates:
            self._add_file(duplicate)
        for file_set in page.analyzed.predicted:
            duplicates = self._duplicates.pop(file_set.image.digest, [])
            self._predicted.append(file_set._replace(files=(*file_set.files, *duplicates)))
        for file, digest in page.analyzed.linked:
            self._add_file(AlreadyPredicted(file, digest))
        self._failed += page.analyzed.failed
        self._claims.release(*page.released)
        for digest in page.released:
            self._retry_duplicates(digest)

    def _add_predictions(self, image: Decoded, predictions: Mapping[int, AnalyzedImage | None]) -> None:
        digest = image.image.digest
        finite = {position: analyzed for position, analyzed in predictions.items() if analyzed is not None}
        if len(finite) < len(predictions):
            self._add_file(FailedFile(image.file, Failure("damaged", "its predictions are not finite"), digest))
        else:
            duplicates = self._duplicates.pop(digest, [])
            self._predicted.append(AnalyzedFileSet(image.image, finite, (image.file, *duplicates)))

    def _retry_duplicates(self, digest: bytes) -> None:
        self._retry += self._duplicates.pop(digest, [])
