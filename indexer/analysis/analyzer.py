"""How pictures are looked at: a model, and perhaps something that finds faces for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from indexer.analysis.face_crops import DETECTION_MAX_SIDE, crop_views
from indexer.domain.predictions import AnalyzedImage, Prediction
from indexer.imaging.decode import decode

if TYPE_CHECKING:
    from indexer.domain.images import DecodedImage
    from indexer.imaging.decoder_pool import DecoderPool
    from indexer.ports.models import Classifier, FaceDetector


@dataclass(frozen=True, slots=True)
class Analyzer:
    """Implements `indexer.ports.analyzer.Analyzer` in this process.

    Without a `detector`, images are classified as a whole. With `decoders`, they are decoded in child processes, which end with
    a `with` block.
    """

    classifier: Classifier
    detector: FaceDetector | None = None
    decoders: DecoderPool | None = None

    def __enter__(self) -> Analyzer:
        return self

    def __exit__(self, *_: object) -> None:
        if self.decoders is not None:
            self.decoders.end()

    @property
    def detector_key(self) -> str | None:
        """The key of what finds faces; None where nothing does."""
        return None if self.detector is None else self.detector.key

    def decode(self, data: bytes) -> DecodedImage:
        """A file's bytes as a picture to look at. Raises as `indexer.imaging.decode.decode` does. Safe in several threads."""
        decoder = decode if self.decoders is None else self.decoders.decode
        return decoder(data, self.classifier.card.input, DETECTION_MAX_SIDE if self.detector else 0)

    def predict(self, images: Sequence[DecodedImage]) -> list[AnalyzedImage | None]:
        """What the model says of pictures that were decoded here; None for one that it gives no finite answer for."""
        if not images:
            return []
        shown = crop_views(images, self.detector, self.classifier.card.input)
        scores = self.classifier.classify(np.stack([view.pixels for regions in shown for view in regions]))
        answers = zip(scores.probabilities, scores.embeddings, strict=True)
        found: list[AnalyzedImage | None] = []
        for regions in shown:
            said = [(view.face, *next(answers)) for view in regions]
            finite = all(np.isfinite(probabilities).all() and np.isfinite(vector).all() for _, probabilities, vector in said)
            predictions = tuple(
                Prediction(tuple(probabilities.tolist()), vector.astype(np.float16), face) for face, probabilities, vector in said
            )
            found.append(predictions if finite else None)
        return found
