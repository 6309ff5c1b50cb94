"""Predictions for labeled images, by one model or by a blend, without PyTorch where the models need none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from indexer.domain.emotions import NONE
from indexer.domain.errors import UsageError
from models.training.dataset import LabeledImages, load_images
from models.training.image_cache import ImageRows

if TYPE_CHECKING:
    from indexer.domain.types import Floats
    from indexer.ports.analyzer import InputDecoder
    from indexer.ports.models import Classifier
    from indexer.ports.store_writer import Combine
    from models.training.dataset_readers import SourceImage


class Predictor(Protocol):
    """A model, or a blend of models, that predicts the emotions of image files."""

    @property
    def name(self) -> str:
        """The name of the model."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The emotions that it knows."""

    def predict(self, files: Sequence[SourceImage], emotions: Sequence[str] | None = None) -> tuple[Floats, LabeledImages]:
        """Return the images that can be read, and their probabilities: float32, (N, labels), in the order of the images.

        `emotions` is the order of the images' labels, see `load_images`. Raises UsageError if no image can be read.
        """


@dataclass(frozen=True, slots=True)
class ModelPredictor:
    """Implements `Predictor` by a classifier, for the main face of each image or the whole image, as the decoder takes it.

    As in an index run, a face that the classifier takes for none is no main face. `views`, 1-6, is the number of augmented views
    that are averaged, which needs PyTorch above 1.
    """

    classifier: Classifier
    decoder: InputDecoder
    views: int = 1

    @property
    def name(self) -> str:
        return self.classifier.card.name

    @property
    def labels(self) -> tuple[str, ...]:
        return self.classifier.card.labels

    def predict(self, files: Sequence[SourceImage], emotions: Sequence[str] | None = None) -> tuple[Floats, LabeledImages]:
        images = load_images(files, self.classifier.card.input, self.decoder, emotions=emotions)
        return self._without_rejected_faces(self._probabilities(images.pixels), images), images

    def _probabilities(self, pixels: ImageRows) -> Floats:
        if self.views > 1:
            from models.training.test_time_augmentation import probabilities

            return probabilities(self.classifier, pixels, self.views)
        chunks = pixels.chunks(self.classifier.batch_size)
        return np.concatenate([self.classifier.classify(chunk).probabilities for chunk in chunks])

    def _without_rejected_faces(self, predicted: Floats, images: LabeledImages) -> Floats:
        """Replace predictions of none for a face by those for the next face with another prediction, or for the whole image."""
        if NONE not in self.labels:
            return predicted
        revised, none = predicted.copy(), self.labels.index(NONE)
        for row in np.flatnonzero(predicted.argmax(axis=1) == none):
            further = self.decoder.further_views(images.files[row].path, self.classifier.card.input)
            if len(further):
                others = self._probabilities(ImageRows(further))
                accepted = np.flatnonzero(others.argmax(axis=1) != none)
                revised[row] = others[accepted[0] if len(accepted) else -1]
        return revised


@dataclass(frozen=True, slots=True)
class BlendPredictor:
    """Implements `Predictor` by a blend: `combine` computes its probabilities from those of its models, in their order."""

    name: str
    labels: tuple[str, ...]
    members: tuple[Predictor, ...]
    combine: Combine

    def predict(self, files: Sequence[SourceImage], emotions: Sequence[str] | None = None) -> tuple[Floats, LabeledImages]:
        predicted = [member.predict(files, emotions) for member in self.members]
        rows = [{image.path: row for row, image in enumerate(images.files)} for _, images in predicted]
        common = [image.path for image in predicted[0][1].files if all(image.path in each for each in rows)]
        if not common:
            raise UsageError(f"The models of the blend {self.name!r} can read none of the same images.")
        order = [[each[path] for path in common] for each in rows]
        probabilities = [part[own] for (part, _), own in zip(predicted, order, strict=True)]
        return self.combine(probabilities), predicted[0][1].take(order[0])
