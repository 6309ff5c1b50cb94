"""The half of the store that indexing writes, and the records that cross that line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from indexer.domain.files import Failure, FileStamp, FileState
    from indexer.domain.images import DecodedImage
    from indexer.domain.models import ModelCard
    from indexer.domain.predictions import Prediction
    from indexer.domain.types import Floats, Halves


class KnownFile(NamedTuple):
    """What the store knows of a path. `predicted`: its picture has been looked at as the run asked about looks at pictures."""

    id: int
    stamp: FileStamp
    state: FileState
    failure: Failure | None
    predicted: bool


class FolderScanResult(NamedTuple):
    """What a scan found in one folder that has to be looked into (`pending`) or cannot be a picture (`failed`), by file name.

    `listing` is a digest of all that it found there; None where that is not worth remembering.
    """

    folder: bytes
    pending: Mapping[bytes, FileStamp]
    failed: Mapping[bytes, tuple[FileStamp, Failure]]
    listing: bytes | None = None


class PendingFile(NamedTuple):
    """A file that waits to be read."""

    id: int
    path: bytes
    stamp: FileStamp


class AnalyzedFileSet(NamedTuple):
    """A picture with what a model says of it, and the files that hold it, each with its stamp when it was read.

    `predictions` are one a face, the largest first, or a single one of the picture as a whole.
    """

    image: DecodedImage
    predictions: tuple[Prediction, ...]
    files: tuple[PendingFile, ...]


class CommitBatch(NamedTuple):
    """What one transaction makes true: new predictions, files whose picture (by digest) is known, files that failed."""

    predicted: tuple[AnalyzedFileSet, ...] = ()
    linked: tuple[tuple[PendingFile, bytes], ...] = ()
    failed: tuple[tuple[PendingFile, Failure], ...] = ()


Score = Callable[["Halves"], "Floats"]
"""Embeddings, float16, (N, embedding size), to probabilities, float32, (N, labels)."""


class StoreWriter(Protocol):
    """The half of the store that indexing writes. Each method is one transaction, but for the last; safe in several threads."""

    def register_model(self, card: ModelCard) -> int:
        """The id of the model with this card's key, added if it is new."""

    def begin_run(self, roots: Sequence[bytes], model_id: int, detector: str | None = None) -> int:
        """Record that a run has started; its id. `detector` is the key of what finds its faces; None where it looks for none.

        Earlier runs that never ended have died: there is one writer, and this is it.
        """

    def finish_run(self, run_id: int, outcome: str, counts: Mapping[str, int], reason: str | None = None) -> None:
        """Record how a run ended, and why where there is something to say."""

    def forget_run(self, run_id: int) -> None:
        """Forget a run that noted and changed nothing."""

    def known_files(self, folder: bytes, run_id: int) -> dict[bytes, KnownFile]:
        """What is known of the files directly in a folder, by name; one indexed query."""

    def known_folders(self, root: bytes) -> list[bytes]:
        """The folders at or below a root that hold known files."""

    def unchanged_folder_digests(self, root: bytes, run_id: int) -> dict[bytes, bytes]:
        """Of the folders at or below a root those of which nothing need be asked: by path, the listing that was noted by a run
        that looked as this one does, where no file waits or has failed since, and no prediction has gone. A few queries.
        """

    def count_files(self, root: bytes) -> int:
        """How many files at or below a root are known and not gone."""

    def record_scan(self, run_id: int, notes: Sequence[FolderScanResult]) -> None:
        """Remember what a scan found. A file that is already indexed stays in every search until it has been read again."""

    def count_pending(self, roots: Sequence[bytes]) -> int:
        """How many files under the roots wait to be read."""

    def pending(self, roots: Sequence[bytes], after: int, limit: int) -> list[PendingFile]:
        """The next files that wait, by id."""

    def has_prediction(self, digest: bytes, run_id: int) -> bool:
        """Whether the run's model has already seen these bytes, and looked for faces as the run does."""

    def commit(self, run_id: int, batch: CommitBatch) -> None:
        """Make a batch true, all of it or nothing; when this returns it survives a power cut.

        What the run's model said of the same pictures is replaced; what models that share its embeddings said goes, where they
        looked for faces in another way, for their regions are no more.
        """

    def detect_moves(self, run_id: int, missing: Sequence[int]) -> list[int]:
        """Forget the missing files whose picture this run found at a new path, or one before it that came to no end; the ids of
        those that moved.
        """

    def mark_missing(self, file_ids: Sequence[int]) -> None:
        """Note that files vanished, and when. Their pictures and predictions stay, should they come back."""

    def expire(self, before: float) -> int:
        """Forget files that have been gone since before a time (seconds since the epoch); how many.

        Where there were any, also the pictures that no file and no label holds any more, with all that models say of them. Many
        take several transactions, each of which leaves things whole.
        """

    def label(self, emotions: Mapping[bytes, str | None]) -> None:
        """Remember what a person says pictures feel like, by digest; None takes it back. Unknown digests are left out.

        From then on it is their emotion, with score 1, in every answer, whatever models say now or later.
        """

    def rescore(self, source: int, target: int, score: Score, advance: Callable[[int], None]) -> int:
        """Predict, by one model, from the stored embeddings of another that shares them, all that it has not predicted yet.

        All of it or nothing; `advance` hears of every portion, and may raise. How many predictions there were.
        """

    def forget_model(self, model_id: int) -> int:
        """Delete a model's predictions and embeddings, and its past generations; how many predictions there were.

        Files, pictures, runs, and the model itself as one without pictures, stay. What is large is deleted in several
        transactions, each of which leaves things whole, the generations in the last: then no kept index of the past is trusted.
        """
