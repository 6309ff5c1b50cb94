"""The ports for image bytes to predictions, and for image files to the input of a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from indexer.domain.images import DecodedImage, DecodeTarget, Face, InputSpec
    from indexer.domain.predictions import AnalyzedImage
    from indexer.domain.types import Pixels
    from indexer.ports.models import Classifier, FaceDetector


class Analyzer(Protocol):
    """A classifier, with or without a face detector. Its child processes end with the `with` block."""

    @property
    def classifier(self) -> Classifier:
        """The classifier."""

    @property
    def detector(self) -> FaceDetector | None:
        """The face detector; None if images are classified as a whole."""

    @property
    def detector_key(self) -> str | None:
        """The key of the face detector; None without one."""

    @property
    def target(self) -> DecodeTarget:
        """What images are decoded for."""

    def decode(self, data: bytes) -> DecodedImage:
        """Decode the bytes of a file for this analyzer. Raises ImageError. Thread-safe."""

    def decode_for(self, data: bytes, targets: Sequence[DecodeTarget]) -> tuple[DecodedImage, ...]:
        """Decode the bytes of a file once, for the targets of several analyzers. Raises ImageError. Thread-safe."""

    def predict(
        self, images: Sequence[DecodedImage], faces_by_page: Sequence[Sequence[Face]] | None = None
    ) -> list[AnalyzedImage | None]:
        """Analyze images that were decoded for this analyzer; None for one whose result is not finite. Thread-safe.

        `faces_by_page` are the faces of all frames of all images, if they have been detected already.
        """

    def __enter__(self) -> Analyzer: ...

    def __exit__(self, *_: object) -> None: ...


class MainView(NamedTuple):
    """The first region of an image as the input of a classifier: uint8, (size, size, 3).

    `frame` is the number, from 1, of the frame of an animation that shows it; None for a still image.
    """

    pixels: Pixels
    frame: int | None


class InputDecoder(Protocol):
    """Decodes the images of data sets: the main face of each, or the whole image."""

    @property
    def faces(self) -> str:
        """The key of the face detector, or `indexer.domain.training.WHOLE_IMAGES` if it takes whole images."""

    def decode(self, path: Path, spec: InputSpec) -> Pixels:
        """Decode a file for an input: uint8, (size, size, 3).

        Raises ImageError for an unusable image, OSError for an unreadable file, and the errors of opening the face detector.
        Thread-safe.
        """

    def further_views(self, path: Path, spec: InputSpec) -> Pixels:
        """Decode what is classified if the classifier takes the main face for none: uint8, (N, size, size, 3).

        These are the other faces, the largest first, and last the whole image; nothing if `decode` takes the whole image. Raises
        what `decode` raises.
        """

    def main_view(self, path: Path, classifier: Classifier) -> MainView:
        """Decode what an index run with a classifier stores as the first region of an image. Raises what `decode` raises."""
