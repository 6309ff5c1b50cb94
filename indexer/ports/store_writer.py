"""The writing half of the store, and its records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from indexer.domain.files import FILE_SYSTEM, IndexedFile

if TYPE_CHECKING:
    from indexer.domain.files import Failure, FileStamp, FileState
    from indexer.domain.images import DecodedImage
    from indexer.domain.models import ModelCard
    from indexer.domain.predictions import AnalyzedImage
    from indexer.domain.runs import RunCounts
    from indexer.domain.types import Floats, Halves, Ids


class KnownFile(NamedTuple):
    """The stored state of a file. `predicted`: all analyzers of the given run have predictions of its image."""

    id: int
    stamp: FileStamp
    state: FileState
    failure: Failure | None
    predicted: bool


class FolderScanResult(NamedTuple):
    """The result of scanning a folder: files to read (`pending`) and files that cannot be images (`failed`), by name.

    `listing` is a digest of all files found there; None if it should not be stored. `source` is the name of the folder's source.
    `restamped` are unchanged files of which an older version stored only part of the stamp.
    """

    folder: bytes
    pending: Mapping[bytes, FileStamp]
    failed: Mapping[bytes, tuple[FileStamp, Failure]]
    listing: bytes | None = None
    source: str = FILE_SYSTEM
    restamped: Mapping[bytes, FileStamp] = MappingProxyType({})


class PendingFile(NamedTuple):
    """A file that is to be read: a path in a source."""

    id: int
    path: bytes
    stamp: FileStamp
    source: str = FILE_SYSTEM


class RunModel(NamedTuple):
    """A model of a run, by id, with the key of its face detector, or None."""

    model_id: int
    detector: str | None = None


class AnalyzedFileSet(NamedTuple):
    """An image with its new predictions and its files, each with its stamp when it was read.

    `predictions` has an entry for each analyzer that had none of the image, by its position in the run.
    """

    image: DecodedImage
    predictions: Mapping[int, AnalyzedImage]
    files: tuple[PendingFile, ...]


class CommitBatch(NamedTuple):
    """The content of one transaction: new predictions, files of known images (by digest), failed files."""

    predicted: tuple[AnalyzedFileSet, ...] = ()
    linked: tuple[tuple[PendingFile, bytes], ...] = ()
    failed: tuple[tuple[PendingFile, Failure], ...] = ()


class LabelMoves(NamedTuple):
    """Numbers of labels that followed a changed file to its new image, and of those that have no file any more."""

    followed: int = 0
    orphaned: int = 0


class Comparison(NamedTuple):
    """The result of comparing some predictions of a model with all others up to the id `compared_to`.

    - `ids`: int64, (N,), of the predictions that change; `probabilities`: float32, (N, labels), the new ones.
    - `unchanged`: ids of the others that were compared.
    - `outdated`: ids of predictions that were compared before, and have new look-alikes since.
    """

    ids: Ids
    probabilities: Floats
    unchanged: Sequence[int]
    outdated: Sequence[int]
    compared_to: int


Score = Callable[["Halves"], "Floats"]
"""A function from embeddings, float16, (N, embedding_size), to probabilities, float32, (N, labels)."""


Combine = Callable[[Sequence["Floats"]], "Floats"]
"""A function from the probabilities of several models, float32, (N, labels of each), to those of another, (N, labels)."""


class StoreWriter(Protocol):
    """The writing half of the store, safe to use from several threads.

    Each method is one transaction, except `expire` and `forget_model`.
    """

    def register_model(self, card: ModelCard) -> int:
        """Return the id of the model with this card's key, which is added if it is new."""

    def begin_run(
        self, roots: Sequence[bytes], model_id: int, detector: str | None = None, further: Sequence[RunModel] = ()
    ) -> int:
        """Record the start of a run and return its id. `detector` is the key of its face detector, or None.

        `further` are its other models; the first one has position 0.

        Earlier runs without an end are recorded as died, unless another process still works on them, see
        `indexer.ports.database.Database.current_writers`.
        """

    def finish_run(self, run_id: int, outcome: str, counts: RunCounts, reason: str | None = None) -> None:
        """Record the end of a run, its outcome, its counts and the reason for the outcome."""

    def forget_run(self, run_id: int) -> None:
        """Delete a run that changed nothing."""

    def known_files(self, folder: bytes, run_id: int | None, names: Collection[bytes] | None = None) -> dict[bytes, KnownFile]:
        """Return the known files directly in a folder, by name; with `names`, only those of these names.

        Without a run, none of them counts as predicted.
        """

    def known_folders(self, roots: Collection[bytes]) -> list[bytes]:
        """Return the folders at or below some roots that have known files, sorted."""

    def unchanged_folder_digests(self, roots: Collection[bytes], run_id: int) -> dict[bytes, bytes]:
        """Return the folders at or below some roots that can be skipped, with their stored listing digest, by path.

        They were last scanned by a run with the same analyzers, and have had no pending file, failed file or deleted prediction
        since. A few queries.
        """

    def count_files(self, roots: Collection[bytes]) -> dict[bytes, int]:
        """Return the number of known files at or below each root that are not missing."""

    def present_files(self, path: bytes) -> list[bytes]:
        """Return the paths of the known files at or below a path that are not missing, sorted."""

    def record_scan(self, run_id: int, results: Sequence[FolderScanResult]) -> None:
        """Record what a scan found. An indexed file stays in every search until it is read again."""

    def count_pending(self, roots: Collection[bytes]) -> int:
        """Return the number of pending files at or below some roots."""

    def pending(self, roots: Collection[bytes], after: int, limit: int) -> list[PendingFile]:
        """Return the next pending files at or below some roots, by id: at most `limit`, and none only if there are no more."""

    def unpredicted(self, digest: bytes, run_id: int) -> list[int]:
        """Return the positions of the run's analyzers that have no predictions of the image with a digest, ascending."""

    def commit(self, run_id: int, batch: CommitBatch) -> LabelMoves:
        """Store a batch, all of it or nothing. It survives a power cut once this returns.

        Raises MoodexError if another process took the run for dead.

        Earlier predictions of the same models for the same images are replaced. Predictions of models that share their embeddings
        are deleted if their face detector differs, because their regions no longer exist.

        The label of a file whose content changed follows it if the new image has none, looks nearly the same, see
        `indexer.domain.fingerprints`, and has the same most probable emotion by the run's first model. Other labels stay with
        their images.
        """

    def root_paths(self) -> list[bytes]:
        """Return the paths of all roots: folders and files that users indexed."""

    def record_roots(self, roots: Collection[bytes], absorbed: Collection[bytes]) -> None:
        """Record roots as surveyed now, and delete those that were `absorbed`: scans of other roots find all that is there."""

    def earlier_copies(self, run_id: int) -> list[tuple[int, bytes]]:
        """Return the live files, with their ids, whose image also has a file that appeared after them.

        That file appeared in this run or in an interrupted run directly before it.
        """

    def forget_files(self, paths: Collection[bytes]) -> int:
        """Forget the files and roots at or below some paths; return the number of files.

        The files are not live any more, and the next `expire` deletes them, whatever its time.
        """

    def move_files(self, old: bytes, new: bytes, job_roots: Mapping[bytes, bytes]) -> int:
        """Replace the path `old` by `new` in all files and roots at or below it.

        `job_roots` are the folders of jobs that change, with their new paths.

        Return the number of files that have moved and are not missing. A file that is known at both paths keeps the entry at the
        new one, unless only that one is missing. If a root was around `old` and none is around `new`, `new` becomes a root.
        Neither path is inside the other.
        """

    def detect_moves(self, run_id: int, missing: Sequence[int]) -> list[int]:
        """Delete the missing files whose images appeared at a new path; return their ids.

        A path is new if it appeared in this run or in an interrupted run directly before it.
        """

    def delete_failures(self, file_ids: Sequence[int]) -> None:
        """Delete failed files that have no image."""

    def mark_missing(self, file_ids: Sequence[int]) -> None:
        """Mark files as missing since now. Their images and predictions stay, in case they come back."""

    def requeue(self, files: Sequence[IndexedFile]) -> None:
        """Mark files as pending, as if they had changed."""

    def expire(self, before: float) -> int:
        """Delete files that are missing since before a time, in seconds since the epoch; return their number.

        If there were any, images without files and labels are deleted with their predictions. Many rows take several
        transactions, each of which leaves the store consistent.
        """

    def hide(self, hidden: Mapping[bytes, bool]) -> None:
        """Hide images, by digest, or show them again. Unknown digests are skipped."""

    def label(self, emotions: Mapping[bytes, str | None]) -> None:
        """Set the labels of images by digest; None removes a label. Unknown digests are skipped.

        A label overrides every model in every search, with score 1, see `effective_emotion`. It gives predictions new ids; during
        a run, which may compare others with them under the old ones, they count as never compared.
        """

    def rescore(self, source: int, target: int, score: Score, advance: Callable[[int], None]) -> int:
        """Add the missing predictions of the model `target` from stored embeddings, which it shares with the model `source`.

        All or nothing. `advance` receives the number of predictions of every chunk and may raise. Returns the number of
        predictions added.
        """

    def derive(self, target: int, sources: Sequence[int], combine: Combine, advance: Callable[[int], None]) -> int:
        """Add the missing predictions of the model `target` from the stored predictions of other models.

        The regions are those of the first source, with which the target shares embeddings. Of another source that divides an
        image otherwise, the prediction for the whole image or the main face counts. Images that a source lacks are left out. All
        or nothing. `advance` receives the number of predictions of every chunk and may raise. Returns the number of predictions
        added.
        """

    def apply_comparison(self, model_id: int, comparison: Comparison) -> dict[int, int]:
        """Store the result of a comparison. Predictions that change get new ids; returns those by old id.

        Vector indexes detect the new ids. Labels override the new probabilities as they did the old ones.
        """

    def restore_pages(self, model_id: int) -> None:
        """Prepare the deep pages of a model's long lists again, after its predictions changed. Results do not depend on it."""

    def forget_model(self, model_id: int) -> int:
        """Delete a model's predictions, embeddings and generations; return the number of predictions.

        Files, images, runs and the model itself stay. Many rows take several transactions, each of which leaves the store
        consistent. Generations are deleted last, so that no stored index of the model is valid afterwards.
        """
