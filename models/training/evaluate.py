"""Evaluation of a checkpoint on data sets, as `moodex evaluate` runs it."""

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
from models.training.dataset import Decode, LabeledImages, load_images
from models.training.dataset_readers import SourceImage, find_images
from models.training.metrics import evaluate, with_intervals
from models.training.test_time_augmentation import probabilities

if TYPE_CHECKING:
    from indexer.domain.types import Floats
    from models.inference.classifier import TorchClassifier
    from models.training.label_mapping import Labels

_log = logging.getLogger(__name__)


def evaluate_model(
    classifier: TorchClassifier, datasets: Sequence[Path], labels: Labels, decode: Decode, closed: bool = False, views: int = 1
) -> tuple[Evaluation, list[Mistake]]:
    """Measure a classifier on data sets; return measurements with intervals, and the mistakes, most confident first.

    An image of an emotion that the model does not know counts as the parent emotion (crying: sad), or is skipped if the model
    does not know that either. `closed` restricts predictions to emotions that occur. Raises UsageError if no image is left.
    """
    found = find_images(datasets, labels)
    known = classifier.card.labels
    usable = [image for image in (_as_known(image, known) for image in found) if image]
    if not usable:
        raise UsageError(f"The model {classifier.card.name!r} knows none of the emotions in these images.")
    if left_out := len(found) - len(usable):
        _log.warning("Skipped %d images of emotions that the model does not know.", left_out)
    images = load_images(usable, classifier.card.input, decode, emotions=known)
    predicted = probabilities(classifier, images.pixels, views)
    if closed:
        predicted = evaluate_occurring(predicted, images)
    evaluation = with_intervals(evaluate(predicted, images.labels, known), predicted, images.labels)
    return replace(evaluation, left_out=left_out), mistakes(predicted, images)


def evaluate_occurring(predicted: Floats, images: LabeledImages) -> Floats:
    """Return probabilities with 0 for emotions that do not occur; rows sum to 1."""
    occurs = np.isin(np.arange(predicted.shape[1]), images.labels)
    kept = np.where(occurs, predicted, 0) + np.where(occurs, 1e-12, 0)
    shared: Floats = (kept / kept.sum(axis=1, keepdims=True)).astype(np.float32)
    return shared


def mistakes(predicted: Floats, images: LabeledImages) -> list[Mistake]:
    """Return the misclassified images, most confident first. `predicted` is float32, (N, labels)."""
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


def _as_known(image: SourceImage, known: Sequence[str]) -> SourceImage | None:
    if image.emotion in known:
        return image
    parent = PARENTS.get(image.emotion)
    return replace(image, emotion=parent) if parent in known and parent is not None else None
