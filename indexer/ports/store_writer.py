"""The port for writing to the store, and its records."""

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
    """The stored state of a path.

    `predicted` is True if the model and the face detector of the run in question analyzed its image.
    """

    id: int
    stamp: FileStamp
    state: FileState
    failure: Failure | None
    predicted: bool


class FolderScanResult(NamedTuple):
    """The files of one folder that must be read (`pending`) or cannot be images (`failed`), by name.

    `listing` is a digest of all files of the folder; None if it must not be stored.
    """

    folder: bytes
    pending: Mapping[bytes, FileStamp]
    failed: Mapping[bytes, tuple[FileStamp, Failure]]
    listing: bytes | None = None


class PendingFile(NamedTuple):
    """A file that an index run must read."""

    id: int
    path: bytes
    stamp: FileStamp


class AnalyzedFileSet(NamedTuple):
    """An image with its predictions, and the files that contain it, each with its stamp when it was read.

    There is one prediction for each face, the largest first, or one for the whole image.
    """

    image: DecodedImage
    predictions: tuple[Prediction, ...]
    files: tuple[PendingFile, ...]


class CommitBatch(NamedTuple):
    """The changes of one transaction: new predictions, files of known images (by digest), failed files."""

    predicted: tuple[AnalyzedFileSet, ...] = ()
    linked: tuple[tuple[PendingFile, bytes], ...] = ()
    failed: tuple[tuple[PendingFile, Failure], ...] = ()


Score = Callable[["Halves"], "Floats"]
"""Function from embeddings, float16, (N, embedding size), to probabilities, float32, (N, labels)."""


class StoreWriter(Protocol):
    """Write access to the store. Each method is one transaction, unless it says otherwise. Thread-safe."""

    def register_model(self, card: ModelCard) -> int:
        """Return the id of the model with this card's key; add the model if it is new."""

    def begin_run(self, roots: Sequence[bytes], model_id: int, detector: str | None = None) -> int:
        """Record the start of a run; return its id.

        `detector` is the key of the face detector; None if the run classifies whole images. Earlier runs that have not ended are
        marked as died, because only one process writes.
        """

    def finish_run(self, run_id: int, outcome: str, counts: Mapping[str, int], reason: str | None = None) -> None:
        """Record the outcome of a run, with a reason if there is one."""

    def forget_run(self, run_id: int) -> None:
        """Delete a run that recorded and changed nothing."""

    def known_files(self, folder: bytes, run_id: int) -> dict[bytes, KnownFile]:
        """Return the stored files directly in a folder, by name; one indexed query."""

    def known_folders(self, root: bytes) -> list[bytes]:
        """Return the folders at or below a root that contain stored files."""

    def unchanged_folder_digests(self, root: bytes, run_id: int) -> dict[bytes, bytes]:
        """Return the folders at or below a root that the scan can skip, with their stored listing digest.

        They were last scanned with the run's model and face detector, and since then have no pending file, failed file or deleted
        prediction. Takes a few queries.
        """

    def count_files(self, root: bytes) -> int:
        """Count the stored files at or below a root that are not missing."""

    def record_scan(self, run_id: int, notes: Sequence[FolderScanResult]) -> None:
        """Store the results of a scan. Searches keep an indexed file until it has been read again."""

    def count_pending(self, roots: Sequence[bytes]) -> int:
        """Count the pending files under the roots."""

    def pending(self, roots: Sequence[bytes], after: int, limit: int) -> list[PendingFile]:
        """Return the next pending files under the roots, with ids above `after`, by id."""

    def has_prediction(self, digest: bytes, run_id: int) -> bool:
        """Return whether the run's model and face detector already analyzed these bytes."""

    def commit(self, run_id: int, batch: CommitBatch) -> None:
        """Apply a batch, all or nothing. Once this returns, the batch survives a power failure.

        Earlier predictions of the run's model for the same images are replaced. Predictions of models that share its embeddings,
        but used another face detector, are deleted, because their regions no longer exist.
        """

    def detect_moves(self, run_id: int, missing: Sequence[int]) -> list[int]:
        """Delete missing files whose image has a new path; return their ids.

        This run, or an earlier one that did not finish, found the new path.
        """

    def mark_missing(self, file_ids: Sequence[int]) -> None:
        """Mark files as missing since now. Their images and predictions are kept in case they reappear."""

    def expire(self, before: float) -> int:
        """Delete files missing since before a time (seconds since the epoch); return their number.

        If there are any, images without a file and without a label are deleted too, with their predictions. Many files take
        several transactions, each of which leaves the store consistent.
        """

    def label(self, emotions: Mapping[bytes, str | None]) -> None:
        """Set the user's labels by digest; None removes a label. Unknown digests are ignored.

        The label overrides the predictions of every model, now and later, with score 1.
        """

    def rescore(self, source: int, target: int, score: Score, advance: Callable[[int], None]) -> int:
        """Predict with the model `target` from the stored embeddings of `source`; return the number of new predictions.

        Existing predictions of `target` are kept. All or nothing. `advance` is called for every chunk, and may raise.
        """

    def forget_model(self, model_id: int) -> int:
        """Delete a model's predictions, embeddings and generations; return the number of predictions.

        Files, images, runs and the model's row stay. Large deletions take several transactions, each of which leaves the store
        consistent. The last one deletes the generations, so that no saved vector index remains valid.
        """
