"""What the application asks of the world outside it, and the records that cross that line.

Adapters live in `models`, `db` and `render`; `tests/contracts` has one suite per port that every implementation passes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from indexer.domain import (
        DecodedImage,
        Face,
        Failure,
        FileStamp,
        FileState,
        Floats,
        Halves,
        Hit,
        Ids,
        Labelled,
        ModelCard,
        Pixels,
        Prediction,
        Scores,
    )


class Classifier(Protocol):
    """A model on a device."""

    @property
    def card(self) -> ModelCard:
        """The model's card."""

    @property
    def device(self) -> str:
        """The device in use, as "cpu" or "cuda:0"."""

    @property
    def engine(self) -> str:
        """What computes there, as "torch" or "onnx"."""

    @property
    def batch_size(self) -> int:
        """How many pictures to hand over at a time."""

    @property
    def streams(self) -> int:
        """How many batches a device of its own takes at once; 0 where the threads that hand them over compute themselves."""

    def classify(self, pixels: Pixels) -> Scores:
        """Classify N pictures: uint8, (N, size, size, 3), RGB, prepared as the card's input says. N >= 1.

        Out of device memory halves the batch until it fits; raises DeviceUnavailable when even one picture does not. Safe in
        several threads.
        """


class FaceFinder(Protocol):
    """What finds drawn faces in pictures."""

    @property
    def key(self) -> str:
        """Hex digest of everything that decides which faces are found."""

    def find(self, pages: Sequence[Pixels]) -> list[list[Face]]:
        """The faces of each page, the largest first. Pages are uint8, (H, W, 3), RGB, of any shape."""


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What the store knows of a path. `predicted`: its picture has been looked at as the run asked about looks at pictures."""

    id: int
    stamp: FileStamp
    state: FileState
    failure: Failure | None
    predicted: bool


@dataclass(frozen=True, slots=True)
class FolderNote:
    """What a scan found in one folder that has to be looked into (`pending`) or cannot be a picture (`failed`), by file name.

    `listing` is a digest of all that it found there; None where that is not worth remembering.
    """

    folder: bytes
    pending: Mapping[bytes, FileStamp]
    failed: Mapping[bytes, tuple[FileStamp, Failure]]
    listing: bytes | None = None


@dataclass(frozen=True, slots=True)
class PendingFile:
    """A file that waits to be read."""

    id: int
    path: bytes
    stamp: FileStamp


@dataclass(frozen=True, slots=True)
class Predicted:
    """A picture with what a model says of it, and the files that hold it, each with its stamp when it was read.

    `predictions` are one a face, the largest first, or a single one of the picture as a whole.
    """

    image: DecodedImage
    predictions: tuple[Prediction, ...]
    files: tuple[PendingFile, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction makes true: new predictions, files whose picture (by digest) is known, files that failed."""

    predicted: tuple[Predicted, ...] = ()
    linked: tuple[tuple[PendingFile, bytes], ...] = ()
    failed: tuple[tuple[PendingFile, Failure], ...] = ()


@dataclass(frozen=True, slots=True)
class RunRecord:
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


@dataclass(frozen=True, slots=True)
class RunTotals:
    """What all runs together came to: files indexed and failed, and how many runs ended in which way."""

    indexed: int
    failed: int
    outcomes: Mapping[str, int]


NOT_THE_MODELS = 255
"""In the place of an emotion's position among a model's labels, where it is none of them."""


@dataclass(frozen=True, slots=True)
class VectorRows:
    """N predictions as the vector index needs them.

    `ids` is int64, (N,), ascending; `emotions` is uint8, (N,), the position of each one's emotion in the model's labels, or
    `NOT_THE_MODELS` for one that only people know; `scores` float32, (N,), its probability; `vectors` float16, (N, D), whole
    embeddings from the store, and in the index the part that says how a picture looks.
    """

    ids: Ids
    emotions: Pixels
    scores: Floats
    vectors: Halves


@dataclass(frozen=True, slots=True)
class Generation:
    """A state of the predictions of one model: the last one's id, and a token that no other state has."""

    last_id: int
    token: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Which predictions a search may find: by emotion (positions in the model's labels; None: any), least score, or id."""

    emotions: frozenset[int] | None = None
    min_score: float = 0.0
    ids: Ids | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which hits may be shown: the emotions (None: any), the least score, the folder they lie under.

    Pictures with a face of an `excluded` emotion are not, whatever their other faces feel.
    """

    emotions: frozenset[str] | None = None
    min_score: float = 0.0
    under: bytes | None = None
    excluded: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RankedHit:
    """A hit, with the id of the prediction behind it."""

    prediction_id: int
    hit: Hit


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model that the store knows, and whether it holds predictions of it."""

    id: int
    card: ModelCard
    used: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """How much the store holds: files by state, and distinct pictures."""

    files: Mapping[FileState, int] = field(default_factory=dict)
    images: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """Some predictions of a model: `ids`, `vectors` as in `VectorRows`, `probabilities` float32, (N, labels)."""

    ids: Ids
    vectors: Halves
    probabilities: Floats


Score = Callable[["Halves"], "Floats"]
"""Embeddings, float16, (N, embedding size), to probabilities, float32, (N, labels)."""


class Catalog(Protocol):
    """The half of the store that indexing writes. Each method is one transaction, but for the last; safe in several threads."""

    def register_model(self, card: ModelCard) -> int:
        """The id of the model with this card's key, added if it is new."""

    def begin_run(self, roots: Sequence[bytes], model_id: int, finder: str | None = None) -> int:
        """Record that a run has started; its id. `finder` is the key of what finds its faces; None where it looks for none.

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

    def settled_listings(self, root: bytes, run_id: int) -> dict[bytes, bytes]:
        """Of the folders at or below a root those of which nothing need be asked: by path, the listing that was noted by a run
        that looked as this one does, where no file waits or has failed since, and no prediction has gone. A few queries.
        """

    def count_files(self, root: bytes) -> int:
        """How many files at or below a root are known and not gone."""

    def note_scan(self, run_id: int, notes: Sequence[FolderNote]) -> None:
        """Remember what a scan found. A file that is already indexed stays in every search until it has been read again."""

    def count_pending(self, roots: Sequence[bytes]) -> int:
        """How many files under the roots wait to be read."""

    def pending(self, roots: Sequence[bytes], after: int, limit: int) -> list[PendingFile]:
        """The next files that wait, by id."""

    def is_predicted(self, digest: bytes, run_id: int) -> bool:
        """Whether the run's model has already seen these bytes, and looked for faces as the run does."""

    def commit(self, run_id: int, batch: Batch) -> None:
        """Make a batch true, all of it or nothing; when this returns it survives a power cut.

        What the run's model said of the same pictures is replaced; what models that share its embeddings said goes, where they
        looked for faces in another way, for their regions are no more.
        """

    def settle_moves(self, run_id: int, missing: Sequence[int]) -> list[int]:
        """Forget the missing files whose picture this run found at a new path, or one before it that came to no end; the ids of
        those that moved.
        """

    def mark_gone(self, file_ids: Sequence[int]) -> None:
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


class Shelf(Protocol):
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

    def ranked(self, model_id: int, chosen: Filter, limit: int, offset: int) -> list[RankedHit]:
        """Live files by score, best first; ties by age of the prediction, then of the file. Each has its best face's."""

    def hits(self, model_id: int, prediction_ids: Sequence[int], chosen: Filter) -> dict[int, list[Hit]]:
        """The live files of each prediction, oldest first; one without any that may be shown is left out.

        Of the filter, only the folder and what is excluded count.
        """

    def prediction_ids(self, model_id: int, chosen: Filter, most: int | None = None) -> Ids | None:
        """The ids of all live predictions that the filter lets through: int64, ascending; None for more than `most`."""

    def digests_at(self, root: bytes) -> list[bytes]:
        """The pictures of the live files at or below a path, each once, ascending."""

    def known_digests(self, digests: Collection[bytes]) -> set[bytes]:
        """Those digests whose pictures the store knows, whether a file of them is left or not."""

    def labelled(self) -> list[Labelled]:
        """Every picture that a person has labelled, by path, those without a live file last."""

    def emotions_said(self) -> tuple[str, ...]:
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


class Store(Catalog, Shelf, Protocol):
    """The truth: files, pictures, models, predictions, embeddings, runs."""


class VectorIndex(Protocol):
    """Vectors by similarity."""

    def __len__(self) -> int:
        """How many vectors it holds."""

    def search(self, query: Floats, k: int, within: Selection) -> tuple[Ids, Floats]:
        """The k nearest by inner product among those selected, best first: ids int64 (n,), similarities float32 (n,), n <= k.

        `query` is float32, (D,). n < k only if fewer are selected. Exact up to float32 rounding where few are selected; of many,
        one in a hundred may be missed, for one that is hardly less near.
        """


@dataclass(frozen=True, slots=True)
class Segment:
    """A kept index of a model's predictions: those after the segment before it, up to the last of a generation."""

    index: VectorIndex
    generation: Generation


class VectorFiles(Protocol):
    """Where vector indexes are kept between runs. What is kept is derived: losing it costs time only."""

    def load(self, card: ModelCard) -> list[Segment]:
        """The kept segments of a model, oldest first, up to the first that is missing or damaged in any way."""

    def save(self, card: ModelCard, kept: Sequence[Segment], rows: VectorRows, generation: Generation) -> None:
        """Keep the first of the loaded segments and, after them, one of these rows; all at once."""

    def forget(self, card: ModelCard) -> None:
        """Delete what is kept of a model, if anything."""

    def over(self, rows: VectorRows) -> VectorIndex:
        """An index of these rows in memory."""


class Progress(Protocol):
    """Somebody who watches long work."""

    def scanning(self, found: int) -> None:
        """So many picture files were found so far."""

    def start(self, total: int) -> None:
        """The work begins: so many files wait."""

    def advance(self, done: int, failed: int) -> None:
        """So many more files were finished, of them so many failed."""

    def finish(self) -> None:
        """The work ended, one way or another."""

    def warn(self, sentence: str) -> None:
        """Something the user should know, now."""
