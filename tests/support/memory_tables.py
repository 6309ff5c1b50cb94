"""The records of a store in memory, in plain dictionaries."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from indexer.domain.files import Failure, FileStamp, FileState
from indexer.domain.images import DecodedImage
from indexer.domain.models import ModelCard
from indexer.domain.predictions import NEVER_COMPARED, Prediction
from indexer.domain.runs import RunRecord
from indexer.ports.store_writer import RunModel
from indexer.ports.vectors import Generation
from tests.support.memory_jobs import MemoryJobs


@dataclass(frozen=True)
class StoredFile:
    """A file by path. `appeared` is the id of the run that first recorded it, or recorded it again after it was missing."""

    id: int
    stamp: FileStamp
    state: FileState
    failure: Failure | None
    digest: bytes | None
    appeared: int
    missing_since: float | None = None

    @property
    def is_live(self) -> bool:
        """True if searches show the file."""
        return self.digest is not None and self.state in (FileState.DONE, FileState.PENDING)


@dataclass(frozen=True)
class StoredPrediction:
    """A prediction with its image, its region (0: the whole image) and the key of the run's face detector.

    `compared_to` is that of `indexer.ports.store_reader.ComparedRows`.
    """

    id: int
    digest: bytes
    region: int
    detector: str | None
    prediction: Prediction
    compared_to: int = NEVER_COMPARED


class MemoryTables(MemoryJobs):
    """The dictionaries that take the place of tables."""

    def __init__(self) -> None:
        super().__init__()
        self._cards: list[ModelCard] = []
        self._runs: dict[int, RunRecord] = {}
        self._files: dict[bytes, StoredFile] = {}
        self._images: dict[bytes, DecodedImage] = {}
        # The model and the key of the face detector, by run.
        self._analyzers: dict[int, tuple[RunModel, ...]] = {}
        # By model, then by digest; one entry for each region.
        self._predictions: dict[int, dict[bytes, list[StoredPrediction]]] = {}
        self._hidden: set[bytes] = set()
        self._generations: dict[int, list[Generation]] = {}
        self._labels_by_digest: dict[bytes, str] = {}
        # The number of the survey that last recorded a root, by path.
        self._roots: dict[bytes, float] = {}
        # Where the image of a label was last, by digest.
        self._last_paths: dict[bytes, bytes] = {}
        self._sources: dict[bytes, str] = {}
        # The listing digest and the run that stored it, by folder.
        self._listings: dict[bytes, tuple[bytes | None, int]] = {}
        self._last_ids = Counter[str]()

    def _next_id(self, table: str) -> int:
        self._last_ids[table] += 1
        return self._last_ids[table]

    def _all_predictions(self, model_id: int) -> list[StoredPrediction]:
        """Return the predictions of a model, by id."""
        predictions = [row for regions in self._predictions.get(model_id, {}).values() for row in regions]
        return sorted(predictions, key=lambda row: row.id)
