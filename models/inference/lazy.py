"""Classifier and face detector that are opened for the first image, so that a run without new files never imports torch."""

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
    """The result of a function, which is called once, by the first thread that needs it."""

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
        """Call the function now, in a thread. What it raises is raised again by the first use of the result."""

        def attempt() -> None:
            with suppress(Exception):
                self()

        # Not a daemon: some libraries crash if the program ends while they are being loaded.
        Thread(target=attempt).start()

    def peek(self) -> T | None:
        """Return the result if there is one."""
        return self._opened


class LazyClassifier:
    """Implements `indexer.ports.models.Classifier`. Device and engine are "none" until it is opened."""

    def __init__(self, card: ModelCard, open_classifier: Callable[[], Classifier]) -> None:
        self.card = card
        self._opened = Lazy(open_classifier)

    def begin(self) -> None:
        """Open the classifier now, in a thread."""
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

    def detect(self, pages: Sequence[Pixels]) -> list[list[Face]]:
        return self._opened().detect(pages)
