"""The decoder of the images of data sets, which sees of an image what the analyzer classifies first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.analysis.face_crops import DETECTION_MAX_SIDE, main_view
from indexer.domain.training import WHOLE_IMAGES
from indexer.imaging.decode import decode

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
        image = decode(path.read_bytes(), spec, DETECTION_MAX_SIDE if self.detector else 0)
        return main_view(image, self.detector, spec).pixels
