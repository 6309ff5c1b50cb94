"""Models: a classifier on a device, a face detector, and the models that are installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from indexer.domain.images import Face
    from indexer.domain.models import InstalledModel, ModelCard
    from indexer.domain.predictions import Scores
    from indexer.domain.reports import DefaultModel, ExportedModel
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


class ModelRegistry(Protocol):
    """The installed models: those that came with moodex, and the user's own. One of them is in use."""

    def cards(self) -> Iterator[tuple[InstalledModel, ModelCard]]:
        """Every model with its card, under the name that finds it; a model without a usable card only logs a warning."""

    def find(self, name: str) -> Path:
        """Return the weights of a model, by its name or as a .safetensors file. Raises ModelUnavailable."""

    def in_use(self) -> DefaultModel:
        """Return the name of the model to use and where it was chosen; the model itself may be missing."""

    def weights(self) -> Path:
        """Return the weights of the model in use. Raises ModelUnavailable."""

    def stored_name(self) -> str:
        """Return the name under which predictions of the model in use are stored. Raises ModelUnavailable."""

    def stored_key(self) -> str | None:
        """Return the key under which they are stored; None if its weights are missing."""

    def use(self, name: str) -> None:
        """Make a model the default. Raises ModelUnavailable."""

    def add(self, weights: Path, name: str | None = None, force: bool = False) -> ModelCard:
        """Verify a checkpoint and install it, as `name` or as its card says. Raises UsageError and ModelUnavailable."""

    def remove(self, name: str) -> None:
        """Delete one of the user's models. Raises as `check_removable` does."""

    def check_removable(self, name: str, gone: bool = False) -> None:
        """Raise UsageError for a shipped model or the one in use, ModelUnavailable for an unknown one unless `gone`."""

    def export(self, kind: str, name: str, output: Path, force: bool) -> ExportedModel:
        """Write a model as "onnx" or "torch" for other programs. Raises UsageError, ModelUnavailable and MissingExtra."""
