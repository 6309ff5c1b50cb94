"""The analyzer: a classifier, with or without a face detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from indexer.analysis.face_crops import DETECTION_MAX_SIDE, View, crop_views, whole_view
from indexer.domain.emotions import NONE
from indexer.domain.predictions import AnalyzedImage, Prediction
from indexer.imaging.decode import decode
from indexer.imaging.perceptual import perceptual_hash

if TYPE_CHECKING:
    from indexer.domain.images import DecodedImage, Face
    from indexer.domain.types import Floats
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
        image = decoder(data, self.classifier.card.input, DETECTION_MAX_SIDE if self.detector else 0)
        return replace(image, perceptual=perceptual_hash(image.pixels))

    def predict(self, images: Sequence[DecodedImage]) -> list[AnalyzedImage | None]:
        """Analyze images that this analyzer decoded; None for an image whose predictions are not finite."""
        if not images:
            return []
        views_by_image = crop_views(images, self.detector, self.classifier.card.input)
        scored = [self._faces_only(regions) for regions in self._classify(views_by_image)]
        without = [number for number, regions in enumerate(scored) if not regions]
        wholes = [[whole_view(images[number].pixels, self.classifier.card.input)] for number in without]
        for number, regions in zip(without, self._classify(wholes), strict=True):
            scored[number] = regions
        return [_analyzed(regions) for regions in scored]

    def _classify(self, views_by_image: Sequence[Sequence[View]]) -> list[list[_Region]]:
        """Classify the views of each image."""
        if not views_by_image:
            return []
        scores = self.classifier.classify(np.stack([view.pixels for views in views_by_image for view in views]))
        outputs = zip(scores.probabilities, scores.embeddings, strict=True)
        return [[_Region(view.face, *next(outputs)) for view in views] for views in views_by_image]

    def _faces_only(self, regions: list[_Region]) -> list[_Region]:
        """Return the regions without those that the detector takes for faces and the classifier for none."""
        labels = self.classifier.card.labels
        if NONE not in labels:
            return regions
        return [region for region in regions if region.face is None or labels[region.probabilities.argmax()] != NONE]


class _Region(NamedTuple):
    """A region of an image: its face, None for the whole image, and the outputs of the classifier."""

    face: Face | None
    probabilities: Floats
    embedding: Floats


def _analyzed(regions: Sequence[_Region]) -> AnalyzedImage | None:
    """Return the predictions for an image; None if they are not finite."""
    if not all(np.isfinite(region.probabilities).all() and np.isfinite(region.embedding).all() for region in regions):
        return None
    return tuple(
        Prediction(tuple(region.probabilities.tolist()), region.embedding.astype(np.float16), region.face) for region in regions
    )
