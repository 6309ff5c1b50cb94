"""Predictions of a model for the labeled images of data sets, without PyTorch where the model needs none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.emotions import PARENTS
from indexer.domain.errors import UsageError
from models.training.dataset_readers import find_images

if TYPE_CHECKING:
    from indexer.domain.types import Floats
    from models.training.dataset_readers import SourceImage
    from models.training.label_mapping import Labels
    from models.training.predictors import Predictor


@dataclass(frozen=True, slots=True)
class Judged:
    """The predictions of a model for N images: probabilities, float32, (N, labels), and the emotion that each image has."""

    images: tuple[SourceImage, ...]
    probabilities: Floats
    labels: tuple[str, ...]
    truth: tuple[str, ...]

    @property
    def predicted(self) -> list[str]:
        """The most probable emotion of each image."""
        return [self.labels[number] for number in self.probabilities.argmax(axis=1)]

    def known(self) -> Judged:
        """Return the images whose emotion the model knows. Raises UsageError if there are none."""
        rows = [row for row, emotion in enumerate(self.truth) if emotion in self.labels]
        if not rows:
            raise UsageError("The model knows none of the emotions in these images.")
        images, truth = tuple(self.images[row] for row in rows), tuple(self.truth[row] for row in rows)
        return replace(self, images=images, probabilities=self.probabilities[rows], truth=truth)


def judge(predictor: Predictor, datasets: Sequence[Path], labels: Labels) -> Judged:
    """Predict the emotion of each image of data sets.

    The emotion of an image is its label or, if the model does not know that but its parent emotion, the parent. Raises UsageError
    for unusable data sets.
    """
    probabilities, found = predictor.predict(find_images(datasets, labels))
    truth = tuple(_of_model(file.emotion, predictor.labels) for file in found.files)
    return Judged(found.files, probabilities, predictor.labels, truth)


def _of_model(emotion: str, labels: Sequence[str]) -> str:
    parent = PARENTS.get(emotion)
    return parent if emotion not in labels and parent is not None and parent in labels else emotion
