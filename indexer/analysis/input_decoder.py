"""The decoder of the images of data sets, which sees of an image what the analyzer classifies first."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexer.analysis.analyzer import Analyzer
from indexer.analysis.face_crops import DETECTION_MAX_SIDE, View, crop_views, face_view, whole_view
from indexer.domain.errors import Damaged
from indexer.domain.training import WHOLE_IMAGES
from indexer.imaging.decode_alone import decode_alone
from indexer.ports.analyzer import MainView
from indexer.system.paths import absolute_path, existing_form

if TYPE_CHECKING:
    from indexer.domain.images import InputSpec
    from indexer.domain.types import Pixels
    from indexer.imaging.decoder_pool import DecoderPool
    from indexer.ports.models import Classifier, FaceDetector
    from indexer.ports.sources import ImageSource


@dataclass(frozen=True, slots=True)
class InputDecoder:
    """Implements `indexer.ports.analyzer.InputDecoder`.

    Without a `detector`, it takes whole images. With `decoders`, all images are decoded in child processes. With a `source`, the
    image of `main_view` may be wherever the images of a library are, such as in an archive; data sets are folders.
    """

    detector: FaceDetector | None = None
    decoders: DecoderPool | None = None
    source: ImageSource | None = None

    @property
    def faces(self) -> str:
        return WHOLE_IMAGES if self.detector is None else self.detector.key

    def decode(self, path: Path, spec: InputSpec) -> Pixels:
        return self._views(path, spec)[0].pixels

    def further_views(self, path: Path, spec: InputSpec) -> Pixels:
        further = [view.pixels for view in self._views(path, spec)[1:]]
        return np.stack(further) if further else np.empty((0, spec.size, spec.size, 3), dtype=np.uint8)

    def main_view(self, path: Path, classifier: Classifier) -> MainView:
        analyzer = Analyzer(classifier, self.detector, self.decoders)
        data = path.read_bytes() if self.source is None else self.source.read(existing_form(absolute_path(os.fsencode(path))))[0]
        image = analyzer.decode(data)
        (regions,) = analyzer.predict([image])
        if regions is None:
            raise Damaged("the model computes numbers for it that are not finite")
        main, spec = regions[0], classifier.card.input
        page = next(frame.pixels for frame in image.frames if frame.number == main.frame)
        if self.detector is None:
            return MainView(page, main.frame)
        view = whole_view(page, spec) if main.face is None else face_view(page, main.face, spec)
        return MainView(view.pixels, main.frame)

    def _views(self, path: Path, spec: InputSpec) -> list[View]:
        """Return what the analyzer classifies: the faces, the largest first, and last the whole image."""
        decode = decode_alone if self.decoders is None else self.decoders.decode
        image = decode(path.read_bytes(), spec, DETECTION_MAX_SIDE if self.detector else 0)
        (views,) = crop_views([image.pixels], self.detector, spec)
        return views if views[-1].face is None else [*views, whole_view(image.pixels, spec)]
