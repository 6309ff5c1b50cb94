"""Evaluation of a model on data sets, as `moodex evaluate` runs it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.emotions import PARENTS
from indexer.domain.errors import UsageError
from indexer.domain.training import Evaluation, Mistake
from models.training.dataset_readers import SourceImage, find_images
from models.training.metrics import MIN_PROBABILITY, evaluate, evaluate_by_artist, with_intervals

if TYPE_CHECKING:
    from indexer.domain.types import Floats
    from models.training.dataset import LabeledImages
    from models.training.label_mapping import Labels
    from models.training.predictors import Predictor

_log = logging.getLogger(__name__)


def evaluate_model(
    predictor: Predictor, datasets: Sequence[Path], labels: Labels, closed: bool = False
) -> tuple[Evaluation, list[Mistake]]:
    """Measure a model or a blend on data sets. With `closed`, consider only the emotions that occur in the data.

    An image of an emotion that the model does not know counts as an image of the parent emotion (crying: sad). It is skipped if
    the model does not know that either. Returns measurements with intervals, and the mistakes, the most confident first. Raises
    UsageError for unusable data sets, and if all images are skipped.
    """
    source_images = find_images(datasets, labels)
    model_labels = predictor.labels
    usable = [image for image in (_with_model_label(image, model_labels) for image in source_images) if image]
    if not usable:
        raise UsageError(f"The model {predictor.name!r} knows none of the emotions in these images.")
    if left_out := len(source_images) - len(usable):
        _log.warning("Skipped %d images of emotions that the model does not know.", left_out)
    predicted, images = predictor.predict(usable, model_labels)
    if closed:
        predicted = restrict_to_occurring(predicted, images)
    evaluation = with_intervals(evaluate(predicted, images.labels, model_labels), predicted, images.labels)
    by_artist = evaluate_by_artist(predicted, images.labels, model_labels, images.artists)
    measured = replace(evaluation, left_out=left_out, faces=images.faces, by_artist=by_artist)
    return measured, mistakes(predicted, images)


def restrict_to_occurring(predicted: Floats, images: LabeledImages) -> Floats:
    """Set the probabilities, float32, (N, labels), of emotions that do not occur to 0; rows still sum to 1."""
    occurs = np.isin(np.arange(predicted.shape[1]), images.labels)
    restricted = np.where(occurs, predicted, 0) + np.where(occurs, MIN_PROBABILITY, 0)
    normalized: Floats = (restricted / restricted.sum(axis=1, keepdims=True)).astype(np.float32)
    return normalized


def mistakes(predicted: Floats, images: LabeledImages) -> list[Mistake]:
    """Return the misclassified images, the most confident first. `predicted` are probabilities, float32, (N, labels)."""
    best, confidence = predicted.argmax(axis=1), predicted.max(axis=1)
    wrong = np.flatnonzero(best != images.labels)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")]
    return [
        Mistake(
            images.files[row].path,
            images.emotions[images.labels[row]],
            images.emotions[best[row]],
            float(confidence[row]),
        )
        for row in wrong
    ]


def _with_model_label(image: SourceImage, model_labels: Sequence[str]) -> SourceImage | None:
    """Return an image with its emotion, or else its parent emotion, if that is a label of the model; None otherwise."""
    if image.emotion in model_labels:
        return image
    parent = PARENTS.get(image.emotion)
    return replace(image, emotion=parent) if parent in model_labels and parent is not None else None
