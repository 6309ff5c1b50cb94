"""Several analyzers over the same images: each image is decoded once, and its faces are detected once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.domain.images import DecodedImage, DecodeTarget, Face
    from indexer.domain.predictions import AnalyzedImage
    from indexer.domain.types import Pixels
    from indexer.ports.analyzer import Analyzer


@dataclass(frozen=True, slots=True)
class AnalyzerGroup:
    """At least one analyzer, in the order of the models of a run, each with its position. All with a face detector share it.

    Their child processes end with the `with` block.
    """

    analyzers: tuple[Analyzer, ...]

    def __enter__(self) -> AnalyzerGroup:
        return self

    def __exit__(self, *_: object) -> None:
        for analyzer in self.analyzers:
            analyzer.__exit__()

    @property
    def streams(self) -> int:
        """The number of batches that a device computes in parallel; 0 if the calling thread computes."""
        return max(analyzer.classifier.streams for analyzer in self.analyzers)

    @property
    def batch_size(self) -> int:
        """The number of images per batch that suits all classifiers."""
        return min(analyzer.classifier.batch_size for analyzer in self.analyzers)

    def decode(self, data: bytes, positions: Sequence[int]) -> dict[int, DecodedImage]:
        """Decode the bytes of a file once, for the analyzers at some positions, at least one. Raises ImageError. Thread-safe."""
        if len(self.analyzers) == 1:
            return {0: self.analyzers[0].decode(data)}
        wanted = {position: self._target(position) for position in positions}
        targets = list(dict.fromkeys(wanted.values()))
        images = dict(zip(targets, self.analyzers[0].decode_for(data, targets), strict=True))
        return {position: images[target] for position, target in wanted.items()}

    def _target(self, position: int) -> DecodeTarget:
        """Return what images are decoded for. Pages for face detection are the same for inputs that are not larger than they."""
        own = self.analyzers[position].target
        others = (analyzer.target for analyzer in self.analyzers)
        same = (other for other in others if other.max_side == own.max_side >= max(other.spec.size, own.spec.size))
        return next(same, own)

    def predict(self, images: Sequence[Mapping[int, DecodedImage]]) -> list[dict[int, AnalyzedImage | None]]:
        """Analyze images that `decode` returned, each by its analyzers; None where a result is not finite. Thread-safe."""
        faces = _Faces()
        results: list[dict[int, AnalyzedImage | None]] = [{} for _ in images]
        for position, analyzer in enumerate(self.analyzers):
            rows = [row for row, image in enumerate(images) if position in image]
            own = [images[row][position] for row in rows]
            predicted = analyzer.predict(own, faces.of(own, analyzer) if len(self.analyzers) > 1 else None)
            for row, regions in zip(rows, predicted, strict=True):
                results[row][position] = regions
        return results


class _Faces:
    """The faces that were detected on the pages of a batch, which several analyzers need."""

    def __init__(self) -> None:
        self._known: dict[int, list[Face]] = {}

    def of(self, images: Sequence[DecodedImage], analyzer: Analyzer) -> list[list[Face]] | None:
        """Return the faces of each page of some images; None for an analyzer that detects none."""
        if analyzer.detector is None:
            return None
        pages = [frame.pixels for image in images for frame in image.frames]
        new: list[Pixels] = [page for page in pages if id(page) not in self._known]
        if new:
            self._known.update(zip(map(id, new), analyzer.detector.detect(new), strict=True))
        return [self._known[id(page)] for page in pages]
