"""The decoder of the images of data sets, which sees of an image what the analyzer classifies first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexer.analysis.face_crops import DETECTION_MAX_SIDE, View, crop_views, whole_view
from indexer.domain.training import WHOLE_IMAGES
from indexer.imaging.decode_alone import decode_alone

if TYPE_CHECKING:
    from indexer.domain.images import InputSpec
    from indexer.domain.types import Pixels
    from indexer.ports.models import FaceDetector


@dataclass(frozen=True, slots=True)
class InputDecoder:
    """Implements `indexer.ports.analyzer.InputDecoder`. Without a `detector`, it takes whole images."""

    detector: FaceDetector | None = None

    @property
    def faces(self) -> str:
        return WHOLE_IMAGES if self.detector is None else self.detector.key

    def decode(self, path: Path, spec: InputSpec) -> Pixels:
        return self._views(path, spec)[0].pixels

    def further_views(self, path: Path, spec: InputSpec) -> Pixels:
        further = [view.pixels for view in self._views(path, spec)[1:]]
        return np.stack(further) if further else np.empty((0, spec.size, spec.size, 3), dtype=np.uint8)

    def _views(self, path: Path, spec: InputSpec) -> list[View]:
        """Return what the analyzer classifies: the faces, the largest first, and last the whole image."""
        image = decode_alone(path.read_bytes(), spec, DETECTION_MAX_SIDE if self.detector else 0)
        (views,) = crop_views([image.pixels], self.detector, spec)
        return views if views[-1].face is None else [*views, whole_view(image.pixels, spec)]
