"""What the application asks of the world outside it. Adapters live in `models`, `db` and `render`; tests have their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from indexer.domain import ModelCard, Pixels, Scores


class Classifier(Protocol):
    """A model on a device."""

    @property
    def card(self) -> ModelCard:
        """The model's card."""

    @property
    def device(self) -> str:
        """The device in use, as "cpu" or "cuda:0"."""

    @property
    def batch_size(self) -> int:
        """How many pictures to hand over at a time."""

    def classify(self, pixels: Pixels) -> Scores:
        """Classify N pictures: uint8, (N, size, size, 3), RGB, prepared as the card's input says. N >= 1.

        Out of device memory halves the batch until it fits; raises DeviceUnavailable when even one picture does not.
        """
