"""The analyzer: a classifier, with or without a face detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from indexer.analysis.face_crops import DETECTION_MAX_SIDE, View, crop_views, face_views, whole_view
from indexer.domain.emotions import NEUTRAL, NONE
from indexer.domain.images import DecodeTarget
from indexer.domain.predictions import AnalyzedImage, Prediction
from indexer.imaging.decode_alone import decode_alone_for
from indexer.imaging.fingerprint import fingerprint

if TYPE_CHECKING:
    from indexer.domain.images import DecodedImage, Face, Frame
    from indexer.domain.types import Floats
    from indexer.imaging.decoder_pool import DecoderPool
    from indexer.ports.models import Classifier, FaceDetector


@dataclass(frozen=True, slots=True)
class Analyzer:
    """Implements `indexer.ports.analyzer.Analyzer` in this process.

    Without a `detector`, whole images are classified. With `decoders`, all images are decoded in child processes, which end with
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

    @property
    def target(self) -> DecodeTarget:
        """What images are decoded for."""
        return DecodeTarget(self.classifier.card.input, DETECTION_MAX_SIDE if self.detector else 0)

    def decode(self, data: bytes) -> DecodedImage:
        """Decode a file's bytes for this analyzer. Raises what `indexer.imaging.decode.decode` raises. Thread-safe."""
        (image,) = self.decode_for(data, [self.target])
        return image

    def decode_for(self, data: bytes, targets: Sequence[DecodeTarget]) -> tuple[DecodedImage, ...]:
        """Decode a file's bytes once for several targets. Raises what `decode` raises. Thread-safe."""
        return (decode_alone_for if self.decoders is None else self.decoders.decode_for)(data, targets)

    def predict(
        self, images: Sequence[DecodedImage], faces_by_page: Sequence[Sequence[Face]] | None = None
    ) -> list[AnalyzedImage | None]:
        """Analyze images that this analyzer decoded; None for an image whose predictions are not finite.

        `faces_by_page` are the faces of all frames of all images, if they have been detected already.
        """
        if not images:
            return []
        spec = self.classifier.card.input
        pages = [frame.pixels for image in images for frame in image.frames]
        views_by_page = (
            crop_views(pages, self.detector, spec) if faces_by_page is None else face_views(pages, faces_by_page, spec)
        )
        regions_by_page = iter([self._faces_only(regions) for regions in self._classify(views_by_page)])
        found = [self._strongest([_Page(frame, next(regions_by_page)) for frame in image.frames]) for image in images]
        without = [number for number, page in enumerate(found) if not page.regions]
        wholes = [[whole_view(images[number].pixels, spec)] for number in without]
        for number, regions in zip(without, self._classify(wholes), strict=True):
            found[number] = _Page(images[number].frames[0], regions)
        return [_analyzed(page) for page in found]

    def _strongest(self, pages: Sequence[_Page]) -> _Page:
        """Return the frame of an animation that shows the strongest face; the first one, if none shows a face."""
        return pages[0] if len(pages) == 1 else max(pages, key=lambda page: max(map(self._strength, page.regions), default=0.0))

    def _strength(self, region: _Region) -> float:
        """Return how strong an expression is, 0-1. A frame without a face has none, if faces are detected.

        It is the probability of the most probable emotion, times that of the face. Neutral counts half: many animations begin
        with a neutral face.
        """
        if self.detector is not None and region.face is None:
            return 0.0
        best = region.probabilities.argmax()
        share = 0.5 if self.classifier.card.labels[best] == NEUTRAL else 1.0
        seen = 1.0 if region.face is None else region.face.probability
        return float(np.nan_to_num(share * seen * region.probabilities[best]))

    def _classify(self, views_by_page: Sequence[Sequence[View]]) -> list[list[_Region]]:
        """Classify the views of each page."""
        if not views_by_page:
            return []
        scores = self.classifier.classify(np.stack([view.pixels for views in views_by_page for view in views]))
        tags = scores.tags or [{}] * len(scores.probabilities)
        outputs = zip(scores.probabilities, scores.embeddings, tags, strict=True)
        return [[_Region(view.face, *next(outputs)) for view in views] for views in views_by_page]

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
    tags: Mapping[str, float]


class _Page(NamedTuple):
    """A frame of an animation, or a still image, and its regions."""

    frame: Frame
    regions: Sequence[_Region]


def _analyzed(page: _Page) -> AnalyzedImage | None:
    """Return the predictions for an image; None if they are not finite."""
    if not all(np.isfinite(region.probabilities).all() and np.isfinite(region.embedding).all() for region in page.regions):
        return None
    return tuple(
        Prediction(
            probabilities=tuple(region.probabilities.tolist()),
            embedding=region.embedding.astype(np.float16),
            face=region.face,
            frame=page.frame.number,
            fingerprint=b"" if number else fingerprint(page.frame.pixels),
            tags=region.tags,
        )
        for number, region in enumerate(page.regions)
    )
