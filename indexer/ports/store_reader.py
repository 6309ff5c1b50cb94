"""The half of the store that searching reads, and the records that cross that line."""

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
    """One indexing job. Times are seconds since the epoch; `outcome` is running, done, failed, interrupted or died.

    `reason` says in a sentence why it ended so, where there is something to say; `pid` is the process that does or did it.
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
    """What all runs together came to: files indexed and failed, and how many runs ended in which way."""

    indexed: int
    failed: int
    outcomes: Mapping[str, int]


class HitFilter(NamedTuple):
    """Which hits may be shown: the emotions (None: any), the least score, the folder they lie under.

    Pictures with a face of an `excluded` emotion are not, whatever their other faces feel.
    """

    emotions: frozenset[str] | None = None
    min_score: float = 0.0
    under: bytes | None = None
    excluded: frozenset[str] = frozenset()


class ImageFile(NamedTuple):
    """A file, the digest of the picture that was read from it, and what it looked like then; None where it is to be read anew."""

    path: bytes
    digest: bytes
    stamp: FileStamp | None


class RankedHit(NamedTuple):
    """A hit, with the id of the prediction behind it."""

    prediction_id: int
    hit: Hit


class StoredModel(NamedTuple):
    """A model that the store knows, and whether it holds predictions of it."""

    id: int
    card: ModelCard
    used: bool


class Counts(NamedTuple):
    """How much the store holds: files by state, and distinct pictures."""

    files: Mapping[FileState, int]
    images: int


class Sample(NamedTuple):
    """Some predictions of a model: `ids`, `vectors` as in `VectorRows`, `probabilities` float32, (N, labels)."""

    ids: Ids
    vectors: Halves
    probabilities: Floats


class StoreReader(Protocol):
    """The half of the store that searching reads."""

    def models(self) -> list[StoredModel]:
        """Every model known to the store, oldest first."""

    def pictures(self, model_id: int) -> int:
        """How many pictures a model has predictions of."""

    def counts(self) -> Counts:
        """How much the store holds."""

    def runs(self, limit: int) -> list[RunRecord]:
        """The latest runs, newest first."""

    def totals(self) -> RunTotals:
        """What all runs together came to."""

    def failures(self, limit: int) -> list[tuple[bytes, Failure]]:
        """Failed files with their reasons, by path."""

    def ranked(self, model_id: int, chosen: HitFilter, limit: int, offset: int) -> list[RankedHit]:
        """Live files by score, best first; ties by age of the prediction, then of the file. Each has its best face's."""

    def hits(self, model_id: int, prediction_ids: Sequence[int], chosen: HitFilter) -> dict[int, list[Hit]]:
        """The live files of each prediction, oldest first; one without any that may be shown is left out.

        Of the filter, only the folder and what is excluded count.
        """

    def prediction_ids(self, model_id: int, chosen: HitFilter, most: int | None = None) -> Ids | None:
        """The ids of all live predictions that the filter lets through: int64, ascending; None for more than `most`."""

    def pictures_at(self, root: bytes) -> list[ImageFile]:
        """The live files at or below a path, by path."""

    def holds(self, path: bytes) -> bool:
        """Whether a live file lies at or below a path."""

    def known_digests(self, digests: Collection[bytes]) -> set[bytes]:
        """Those digests whose pictures the store knows, whether a file of them is left or not."""

    def labelled(self) -> list[LabeledImage]:
        """Every picture that a person has labelled, by path, those without a live file last."""

    def user_emotions(self) -> tuple[str, ...]:
        """Every emotion that a person has given, in alphabetical order; not all need be canonical, or known to a model."""

    def sample(self, model_id: int, count: int) -> Sample:
        """At most so many predictions of a model, evenly over their age: of pictures as a whole and of main faces."""

    def find(self, model_id: int, digest_prefix: str) -> list[int]:
        """The predictions, of the main face or the whole, of pictures whose hex digest starts so; two are looked for at most."""

    def predicted_at(self, model_id: int, path: bytes) -> list[RankedHit]:
        """The live hits of one path: a face each, the largest first."""

    def predicted_as(self, model_id: int, digest: bytes) -> int | None:
        """The prediction of a picture, or its main face, by its digest, whether a file still holds it or not."""

    def vectors(self, model_id: int, after: int = 0) -> Iterator[VectorRows]:
        """Every prediction's vector with an id above `after`, in chunks by id."""

    def vectors_of(self, prediction_ids: Sequence[int]) -> dict[int, Halves]:
        """The vectors of some predictions: float16, (embedding size,) each."""

    def regions(self, model_id: int) -> int:
        """How many predictions of a model there are."""

    def generation(self, model_id: int) -> Generation | None:
        """The present state of a model's predictions; None before the first."""

    def had_generation(self, model_id: int, generation: Generation) -> bool:
        """Whether the present state grew out of that one."""
