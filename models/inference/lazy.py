"""A classifier and a face detector that are opened for the first image.

A run without new files then never imports torch.
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
    """The result of a function, which the first thread that needs it computes once.

    A call returns the result. If the function raises, so does the call, and the next call tries again. Thread-safe.
    """

    def __init__(self, compute: Callable[[], T]) -> None:
        """`compute` must not return None."""
        self._compute = compute
        self._result: T | None = None
        self._lock = Lock()

    def __call__(self) -> T:
        with self._lock:
            if self._result is None:
                self._result = self._compute()
        return self._result

    def begin(self) -> None:
        """Start to compute the result in a thread. If that fails, the first call tries again, and raises the error."""

        def attempt() -> None:
            with suppress(Exception):
                self()

        # Not a daemon: some libraries crash if the program ends while they are being loaded.
        Thread(target=attempt).start()

    def peek(self) -> T | None:
        """Return the result; None if it was not computed yet."""
        return self._result


class LazyClassifier:
    """Implements `indexer.ports.models.Classifier`; device and engine are "none" until the classifier is opened."""

    def __init__(self, card: ModelCard, open_classifier: Callable[[], Classifier]) -> None:
        """`open_classifier` opens the classifier that the card describes."""
        self.card = card
        self._classifier = Lazy(open_classifier)

    def begin(self) -> None:
        """Start to open the classifier in a thread."""
        self._classifier.begin()

    @property
    def device(self) -> str:
        classifier = self._classifier.peek()
        return classifier.device if classifier else "none"

    @property
    def engine(self) -> str:
        classifier = self._classifier.peek()
        return classifier.engine if classifier else "none"

    @property
    def batch_size(self) -> int:
        return self._classifier().batch_size

    @property
    def streams(self) -> int:
        return self._classifier().streams

    def classify(self, pixels: Pixels) -> Scores:
        return self._classifier().classify(pixels)


class LazyFaceDetector:
    """Implements `indexer.ports.models.FaceDetector` with a detector that is opened for the first image."""

    def __init__(self, key: str, open_detector: Callable[[], FaceDetector]) -> None:
        """`key` is the key of the detector that `open_detector` opens."""
        self.key = key
        self._detector = Lazy(open_detector)

    def detect(self, pages: Sequence[Pixels]) -> list[list[Face]]:
        return self._detector().detect(pages)
