"""The port for teaching: fitting a model to the user's labels."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.reports import TeachingSet
    from indexer.domain.types import Floats, Halves, Ids


class Scorer(Protocol):
    """A model that predicts from stored embeddings."""

    @property
    def card(self) -> ModelCard:
        """The model's card."""

    def score(self, embeddings: Halves) -> Floats:
        """Return probabilities, float32, (N, labels), for embeddings, float16, (N, embedding size)."""

    def logits(self, embeddings: Halves) -> Floats:
        """Return the logits of these probabilities, float32, (N, labels)."""

    @property
    def mean_logits(self) -> Floats:
        """The mean logits over many characters, float32, (labels,): a constant of the model."""


class FittedVersion(NamedTuple):
    """The result of teaching: balanced accuracy, 0-1, before and after, on `tested` labels.

    `scorer` predicts with the new version; None if that is not better. `unchanged` is True if the model in use is that version.
    """

    before: float
    after: float
    tested: int
    scorer: Scorer | None
    unchanged: bool


class Candidates(NamedTuple):
    """N images of a model's sample: `embeddings` float16, (N, embedding size), `probabilities` float32, (N, labels).

    `unlabeled` and `labeled` are row numbers, int64.
    """

    embeddings: Halves
    probabilities: Floats
    unlabeled: Ids
    labeled: Ids


class Teacher(Protocol):
    """Fits new versions of installed models."""

    def learn(
        self,
        in_use: str,
        examples: TeachingSet,
        name: str | None,
        taken: Collection[str],
        check_stop: Callable[[], None],
    ) -> FittedVersion:
        """Fit the model in use, and install the new version if it is better.

        Its name is `name`, or a numbered one that is not `taken`. Raises UsageError, ModelUnavailable, and what `check_stop`
        raises; nothing is installed then.
        """

    def earlier(self, in_use: str) -> tuple[str, Scorer | None]:
        """Return the model from which a version was taught, and its scorer if it predicts from embeddings.

        Raises UsageError for a model that was not taught, ModelUnavailable if the earlier one is missing.
        """

    def scorer(self) -> Scorer:
        """Return the scorer of the model in use, which must have embedding spaces. Raises ModelUnavailable."""

    def select_informative(self, card: ModelCard, candidates: Candidates, count: int) -> Ids:
        """Return at most `count` unlabeled rows whose labels would teach the model most: int64, (n,)."""
