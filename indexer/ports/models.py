"""The ports for models: classifier, face detector and registry of installed models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from indexer.domain.images import Face
    from indexer.domain.models import InstalledModel, ModelCard
    from indexer.domain.predictions import Scores
    from indexer.domain.reports import DefaultModel, ExportedModel
    from indexer.domain.types import Floats, Pixels
    from indexer.ports.store_writer import Combine


class Classifier(Protocol):
    """A model on a device."""

    @property
    def card(self) -> ModelCard:
        """The model's card."""

    @property
    def device(self) -> str:
        """The device in use, such as "cpu" or "cuda:0"."""

    @property
    def engine(self) -> str:
        """The engine in use: "torch" or "onnx"."""

    @property
    def batch_size(self) -> int:
        """The preferred number of images per batch."""

    @property
    def streams(self) -> int:
        """The number of batches that the device computes in parallel; 0 if the calling thread computes."""

    def classify(self, pixels: Pixels) -> Scores:
        """Classify N >= 1 images: uint8, (N, size, size, 3), RGB, prepared as the card's input says.

        If the device memory does not suffice, the batch is halved until it fits. Raises DeviceUnavailable if not even one image
        fits. Thread-safe.
        """


class TextEncoder(Protocol):
    """A model that maps texts to vectors among the embeddings of images."""

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return a vector of length 1 for each of N >= 1 texts, float32, (N, embedding size). Thread-safe."""


class FaceDetector(Protocol):
    """A detector of drawn faces."""

    @property
    def key(self) -> str:
        """Hex digest of everything that affects which faces are detected."""

    def detect(self, pages: Sequence[Pixels]) -> list[list[Face]]:
        """Detect the faces of each image, the largest first. Images are uint8, (H, W, 3), RGB, of any size. Thread-safe."""


@dataclass(frozen=True, slots=True)
class HubOptions:
    """How to add a model of a hub.

    - `engine`: "auto", "torch" or "onnx": the format of the weights, where a repository has both.
    - `tag_emotions`: a table of tags and emotions that replaces the shipped one.
    - `tag_threshold`: the least probability, 0-1, of a tag that is stored.
    - `prompts`: the texts by which CLIP recognizes emotions, in a file that replaces the shipped one.
    - `channels`: "rgb" or "bgr", the order in which the network reads colors; None takes that of the layout.
    - `quiet`: show no progress.
    """

    engine: str = "auto"
    tag_emotions: Path | None = None
    tag_threshold: float = 0.35
    channels: str | None = None
    prompts: Path | None = None
    quiet: bool = False


class BlendExamples(NamedTuple):
    """N labeled images: the probabilities by each model of a blend, float32, (N, labels of the model), and their labels."""

    probabilities: tuple[Floats, ...]
    labels: tuple[str, ...]


class Blended(NamedTuple):
    """A blend that was written: its card, how it follows from its models, their weights, and held-out log losses by name."""

    card: ModelCard
    combine: Combine
    weights: tuple[float, ...]
    temperature: float
    log_losses: Mapping[str, float]


class ModelRegistry(Protocol):
    """The installed models: the shipped ones and the user's. One of them is in use."""

    def cards(self) -> Iterator[tuple[InstalledModel, ModelCard]]:
        """Return every model with its card; for an unusable card, log a warning and skip the model."""

    def find(self, name: str) -> Path:
        """Return the weights file of a model, by name or by the path of a .safetensors file. Raises ModelUnavailable."""

    def in_use(self) -> DefaultModel:
        """Return the name of the model in use and where it was chosen; the model itself may be missing."""

    def weights(self) -> Path:
        """Return the weights file of the model in use. Raises ModelUnavailable."""

    def stored_name(self) -> str:
        """Return the name that the store uses for the model in use. Raises ModelUnavailable."""

    def stored_key(self) -> str | None:
        """Return the key that the store uses for the model in use; None if its weights are missing."""

    def text_card(self) -> ModelCard | None:
        """Return the card of the model whose text encoder serves the model in use: its own, or that of the first of a blend.

        None if there is no text encoder, or if the model is missing.
        """

    def use(self, name: str) -> None:
        """Make a model the default. Raises ModelUnavailable."""

    def add(self, weights: Path, name: str | None = None, force: bool = False) -> ModelCard:
        """Verify and install a checkpoint, as `name` or under the name on its card.

        `force` replaces a model of that name. Raises UsageError and ModelUnavailable.
        """

    def add_from_hub(
        self, reference: str, options: HubOptions, announce: Callable[[str], None], name: str | None = None, force: bool = False
    ) -> ModelCard:
        """Download a model of a hub and install it, as `name` or under that of the repository.

        `reference` is hf:OWNER/NAME[@REVISION], or open_clip:ARCHITECTURE/WEIGHTS or open_clip:OWNER/NAME.

        `announce` receives a sentence with size and license before the download. Raises UsageError, ModelUnavailable and
        MissingExtra.
        """

    def blend(
        self,
        name: str,
        members: Sequence[ModelCard],
        examples: BlendExamples | None,
        weights: Sequence[float] | None,
        force: bool = False,
    ) -> Blended:
        """Write a blend with given weights, or with those that fit the examples. Raises UsageError and ModelUnavailable."""

    def blends(self) -> Iterator[tuple[ModelCard, Combine]]:
        """Return the installed blends whose models are all installed, and how they follow from these."""

    def remove(self, name: str) -> None:
        """Delete one of the user's models. Raises what `check_removable` raises."""

    def check_removable(self, name: str, gone: bool = False) -> None:
        """Raise UsageError if a model is shipped or in use, ModelUnavailable if it is unknown.

        With `gone`, an unknown model is allowed.
        """

    def export(self, kind: str, name: str, output: Path, force: bool) -> ExportedModel:
        """Write a model as "onnx" or "torch" for other programs. Raises UsageError, ModelUnavailable and MissingExtra."""
