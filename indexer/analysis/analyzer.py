"""The analyzer: a classifier, with or without a face detector."""

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

    Without a `detector`, whole images are classified. With `decoders`, images are decoded in child processes, which end with
    the `with` block.
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
        """The key of the face detector; None without one."""
        return None if self.detector is None else self.detector.key

    def decode(self, data: bytes) -> DecodedImage:
        """Decode a file's bytes for this analyzer. Raises what `indexer.imaging.decode.decode` raises. Thread-safe."""
        decoder = decode if self.decoders is None else self.decoders.decode
        return decoder(data, self.classifier.card.input, DETECTION_MAX_SIDE if self.detector else 0)

    def predict(self, images: Sequence[DecodedImage]) -> list[AnalyzedImage | None]:
        """Analyze images that this analyzer decoded; None for an image whose predictions are not finite."""
        if not images:
            return []
        views_by_image = crop_views(images, self.detector, self.classifier.card.input)
        scores = self.classifier.classify(np.stack([view.pixels for views in views_by_image for view in views]))
        outputs = zip(scores.probabilities, scores.embeddings, strict=True)
        analyzed: list[AnalyzedImage | None] = []
        for views in views_by_image:
            regions = [(view.face, *next(outputs)) for view in views]
            is_finite = all(np.isfinite(numbers).all() and np.isfinite(vector).all() for _, numbers, vector in regions)
            predictions = tuple(
                Prediction(tuple(probabilities.tolist()), vector.astype(np.float16), face)
                for face, probabilities, vector in regions
            )
            analyzed.append(predictions if is_finite else None)
        return analyzed
