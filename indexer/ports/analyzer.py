"""The port for analyzers: image bytes to predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from indexer.domain.images import DecodedImage
    from indexer.domain.predictions import AnalyzedImage
    from indexer.ports.models import Classifier


class Analyzer(Protocol):
    """A classifier, with or without a face detector. Its child processes end with the `with` block."""

    @property
    def classifier(self) -> Classifier:
        """The classifier."""

    @property
    def detector_key(self) -> str | None:
        """The key of the face detector; None if images are classified as a whole."""

    def decode(self, data: bytes) -> DecodedImage:
        """Decode the bytes of a file for this analyzer. Raises ImageError. Thread-safe."""

    def predict(self, images: Sequence[DecodedImage]) -> list[AnalyzedImage | None]:
        """Analyze images that this analyzer decoded; None for one whose result is not finite. Thread-safe."""

    def __enter__(self) -> Analyzer: ...

    def __exit__(self, *_: object) -> None: ...
