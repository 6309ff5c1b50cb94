"""A classifier and a finder of faces that are opened when the first picture comes: a run that finds nothing new never waits for
torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.domain import Face, ModelCard, Pixels, Scores
    from indexer.ports import Classifier, FaceFinder


class LazyClassifier:
    """Implements `indexer.ports.Classifier`. Its device and engine are "none" until they were needed."""

    def __init__(self, card: ModelCard, open_classifier: Callable[[], Classifier]) -> None:
        self.card = card
        self._open = open_classifier
        self._opened: Classifier | None = None
        self._opening = Lock()

    @property
    def device(self) -> str:
        return self._opened.device if self._opened else "none"

    @property
    def engine(self) -> str:
        return self._opened.engine if self._opened else "none"

    @property
    def batch_size(self) -> int:
        return self._classifier().batch_size

    @property
    def streams(self) -> int:
        return self._classifier().streams

    def classify(self, pixels: Pixels) -> Scores:
        return self._classifier().classify(pixels)

    def _classifier(self) -> Classifier:
        with self._opening:
            if self._opened is None:
                self._opened = self._open()
        return self._opened


class LazyFaceFinder:
    """Implements `indexer.ports.FaceFinder`."""

    def __init__(self, key: str, open_finder: Callable[[], FaceFinder]) -> None:
        self.key = key
        self._open = open_finder
        self._opened: FaceFinder | None = None
        self._opening = Lock()

    def find(self, pages: Sequence[Pixels]) -> list[list[Face]]:
        with self._opening:
            if self._opened is None:
                self._opened = self._open()
        return self._opened.find(pages)
