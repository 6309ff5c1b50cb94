"""The adapter from the teaching port to the models of a registry. Imports torch only to fit a model."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from indexer.ports.teaching import Candidates, FittedVersion, Scorer
from models.teaching.select import select_informative, selection_features

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.reports import TeachingSet
    from indexer.domain.types import Ids
    from models.model_registry import FolderModelRegistry


class ModelTeacher:
    """Implements `indexer.ports.teaching.Teacher` for the models of a registry."""

    def __init__(self, registry: FolderModelRegistry) -> None:
        self._registry = registry

    def learn(
        self, in_use: str, examples: TeachingSet, name: str | None, taken: Collection[str], check_stop: Callable[[], None]
    ) -> FittedVersion:
        from models.teaching.model_version import learn

        version = learn(self._registry, in_use, examples, name, taken, check_stop)
        fit = version.fit
        return FittedVersion(fit.before, fit.after, fit.tested, version.scorer, version.unchanged)

    def earlier(self, in_use: str) -> tuple[str, Scorer | None]:
        from models.teaching.model_version import earlier

        return earlier(self._registry, in_use)

    def scorer(self) -> Scorer:
        from models.inference.embedding_scorer import open_scorer

        return open_scorer(self._registry.weights())

    def select_informative(self, card: ModelCard, candidates: Candidates, count: int) -> Ids:
        features = selection_features(card, candidates.embeddings, candidates.probabilities)
        return select_informative(features, candidates.probabilities, candidates.unlabeled, candidates.labeled, count)
