"""A classifier and a detector of faces that are opened when the first picture comes: a run that finds nothing new never waits for
torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock, Thread
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from indexer.domain.images import Face
    from indexer.domain.models import ModelCard
    from indexer.domain.predictions import Scores
    from indexer.domain.types import Pixels
    from indexer.ports.models import Classifier, FaceDetector

T = TypeVar("T")


class Lazy(Generic[T]):
    """What a function returns, which is called when that is first needed, by whichever thread needs it."""

    def __init__(self, open_it: Callable[[], T]) -> None:
        self._open = open_it
        self._opened: T | None = None
        self._opening = Lock()

    def __call__(self) -> T:
        with self._opening:
            if self._opened is None:
                self._opened = self._open()
        return self._opened

    def begin(self) -> None:
        """Call the function now, beside whatever else happens. What it raises is left to be raised where the result is needed."""

        def attempt() -> None:
            with suppress(Exception):
                self()

        # No daemon: at the end of the program it could be within a library that does not bear being stopped.
        Thread(target=attempt).start()

    def peek(self) -> T | None:
        """The same if it was needed before."""
        return self._opened


class LazyClassifier:
    """Implements `indexer.ports.models.Classifier`. Its device and engine are "none" until they were needed."""

    def __init__(self, card: ModelCard, open_classifier: Callable[[], Classifier]) -> None:
        self.card = card
        self._opened = Lazy(open_classifier)

    def begin(self) -> None:
        """Open it now, beside whatever else happens."""
        self._opened.begin()

    @property
    def device(self) -> str:
        opened = self._opened.peek()
        return opened.device if opened else "none"

    @property
    def engine(self) -> str:
        opened = self._opened.peek()
        return opened.engine if opened else "none"

    @property
    def batch_size(self) -> int:
        return self._opened().batch_size

    @property
    def streams(self) -> int:
        return self._opened().streams

    def classify(self, pixels: Pixels) -> Scores:
        return self._opened().classify(pixels)


class LazyFaceDetector:
    """Implements `indexer.ports.models.FaceDetector`."""

    def __init__(self, key: str, open_finder: Callable[[], FaceDetector]) -> None:
        self.key = key
        self._opened = Lazy(open_finder)

    def find(self, pages: Sequence[Pixels]) -> list[list[Face]]:
        return self._opened().find(pages)
