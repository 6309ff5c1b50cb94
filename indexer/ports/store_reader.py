"""The port for reading the store, and its records."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from indexer.domain.files import Failure, FileStamp, FileState
    from indexer.domain.models import ModelCard
    from indexer.domain.predictions import LabeledImage
    from indexer.domain.queries import Hit
    from indexer.domain.types import Floats, Halves, Ids
    from indexer.ports.vectors import Generation, VectorRows


class RunRecord(NamedTuple):
    """One index run.

    Times are seconds since the epoch. `outcome` is running, done, failed, interrupted or died. `reason` explains it in a
    sentence, if necessary. `pid` is the id of the run's process.
    """

    id: int
    started_at: float
    ended_at: float | None
    roots: tuple[bytes, ...]
    outcome: str
    counts: Mapping[str, int]
    reason: str | None = None
    pid: int = 0


class RunTotals(NamedTuple):
    """Totals of all runs: indexed and failed files, and the number of runs by outcome."""

    indexed: int
    failed: int
    outcomes: Mapping[str, int]


class HitFilter(NamedTuple):
    """A filter of hits: emotions (None: any), minimum score (0-1) and folder.

    An image with a face of an `excluded` emotion never passes, whatever its other faces are.
    """

    emotions: frozenset[str] | None = None
    min_score: float = 0.0
    under: bytes | None = None
    excluded: frozenset[str] = frozenset()


class ImageFile(NamedTuple):
    """A file with the digest of its image, and its stamp when it was read; None if it must be read again."""

    path: bytes
    digest: bytes
    stamp: FileStamp | None


class RankedHit(NamedTuple):
    """A hit and the id of its prediction."""

    prediction_id: int
    hit: Hit


class StoredModel(NamedTuple):
    """A model in the store. `used` is True if the store has predictions of it."""

    id: int
    card: ModelCard
    used: bool


class Counts(NamedTuple):
    """The size of the store: files by state, and distinct images."""

    files: Mapping[FileState, int]
    images: int


class Sample(NamedTuple):
    """A sample of N predictions: `ids` and `vectors` as in `VectorRows`, `probabilities` float32, (N, labels)."""

    ids: Ids
    vectors: Halves
    probabilities: Floats


class StoreReader(Protocol):
    """Read access to the store. A live file is a file that is not missing."""

    def models(self) -> list[StoredModel]:
        """Return every model in the store, oldest first."""

    def pictures(self, model_id: int) -> int:
        """Count the images with predictions of a model."""

    def counts(self) -> Counts:
        """Count the files and images in the store."""

    def runs(self, limit: int) -> list[RunRecord]:
        """Return the latest runs, newest first."""

    def totals(self) -> RunTotals:
        """Return the totals of all runs."""

    def failures(self, limit: int) -> list[tuple[bytes, Failure]]:
        """Return failed files with their reasons, by path."""

    def ranked(self, model_id: int, chosen: HitFilter, limit: int, offset: int) -> list[RankedHit]:
        """Return live files by the score of their best-matching face, best first.

        Ties are ordered by age of the prediction, then of the file.
        """

    def hits(self, model_id: int, prediction_ids: Sequence[int], chosen: HitFilter) -> dict[int, list[Hit]]:
        """Return the live files of each prediction, oldest first, without predictions that have none.

        Only the folder and the excluded emotions of the filter apply.
        """

    def prediction_ids(self, model_id: int, chosen: HitFilter, most: int | None = None) -> Ids | None:
        """Return the ids of all live predictions that pass the filter: int64, ascending; None for more than `most`."""

    def pictures_at(self, root: bytes) -> list[ImageFile]:
        """Return the live files at or below a path, by path."""

    def holds(self, path: bytes) -> bool:
        """Return whether a live file is at or below a path."""

    def known_digests(self, digests: Collection[bytes]) -> set[bytes]:
        """Return the digests of images in the store, with or without a live file."""

    def labelled(self) -> list[LabeledImage]:
        """Return every labelled image by path, images without a live file last."""

    def user_emotions(self) -> tuple[str, ...]:
        """Return every emotion of a user label, in alphabetical order.

        They may be neither canonical nor among a model's labels.
        """

    def sample(self, model_id: int, count: int) -> Sample:
        """Return at most `count` predictions, evenly by age, of whole images and main faces."""

    def find(self, model_id: int, digest_prefix: str) -> list[int]:
        """Return the predictions of images whose hex digest starts with a prefix; at most two.

        They are of the main face or the whole image.
        """

    def predicted_at(self, model_id: int, path: bytes) -> list[RankedHit]:
        """Return the hits of a live file: one for each face, the largest first."""

    def predicted_as(self, model_id: int, digest: bytes) -> int | None:
        """Return the prediction of an image's main face or whole, with or without a live file."""

    def vectors(self, model_id: int, after: int = 0) -> Iterator[VectorRows]:
        """Return the vectors of all predictions with an id above `after`, in chunks by id."""

    def vectors_of(self, prediction_ids: Sequence[int]) -> dict[int, Halves]:
        """Return the vectors of predictions: float16, (embedding size,) each."""

    def regions(self, model_id: int) -> int:
        """Count the predictions of a model."""

    def generation(self, model_id: int) -> Generation | None:
        """Return the current generation of a model's predictions; None before the first."""

    def had_generation(self, model_id: int, generation: Generation) -> bool:
        """Return whether the current generation developed from the given one."""
