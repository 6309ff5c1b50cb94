"""What looks at pictures: a model on a device, and what finds faces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from indexer.domain.images import Face
    from indexer.domain.models import ModelCard
    from indexer.domain.predictions import Scores
    from indexer.domain.types import Pixels


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


class FaceDetector(Protocol):
    """What finds drawn faces in pictures."""

    @property
    def key(self) -> str:
        """Hex digest of everything that decides which faces are found."""

    def find(self, pages: Sequence[Pixels]) -> list[list[Face]]:
        """The faces of each page, the largest first. Pages are uint8, (H, W, 3), RGB, of any shape."""
