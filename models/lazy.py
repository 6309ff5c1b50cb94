"""A classifier that is opened when the first picture comes: a run that finds nothing new never waits for torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.domain import ModelCard, Pixels, Scores
    from indexer.ports import Classifier


class LazyClassifier:
    """Implements `indexer.ports.Classifier`. Its device is "none" until it was needed."""

    def __init__(self, card: ModelCard, open_classifier: Callable[[], Classifier]) -> None:
        self.card = card
        self._open = open_classifier
        self._opened: Classifier | None = None

    @property
    def device(self) -> str:
        return self._opened.device if self._opened else "none"

    @property
    def batch_size(self) -> int:
        return self._classifier().batch_size

    def classify(self, pixels: Pixels) -> Scores:
        return self._classifier().classify(pixels)

    def _classifier(self) -> Classifier:
        if self._opened is None:
            self._opened = self._open()
        return self._opened
