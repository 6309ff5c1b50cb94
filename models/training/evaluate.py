"""Evaluation of a model on data sets, as `moodex evaluate` runs it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.emotions import NONE, PARENTS
from indexer.domain.errors import UsageError
from indexer.domain.training import Evaluation, Mistake
from models.training.dataset import LabeledImages, load_images
from models.training.dataset_readers import SourceImage, find_images
from models.training.image_cache import ImageRows
from models.training.metrics import MIN_PROBABILITY, evaluate, evaluate_by_artist, with_intervals
from models.training.test_time_augmentation import probabilities

if TYPE_CHECKING:
    from indexer.domain.types import Floats
    from indexer.ports.analyzer import InputDecoder
    from indexer.ports.models import Classifier
    from models.training.label_mapping import Labels

_log = logging.getLogger(__name__)


def evaluate_model(
    classifier: Classifier,
    datasets: Sequence[Path],
    labels: Labels,
    decoder: InputDecoder,
    closed: bool = False,
    views: int = 1,
) -> tuple[Evaluation, list[Mistake]]:
    """Measure a classifier on data sets.

    - `decoder`: decodes the images, cropped to their main faces or whole. As in an index run, a face that the classifier takes
      for none is no main face.
    - `closed`: consider only the emotions that occur in the data.
    - `views`: augmented views of each image that are averaged, 1-6.

    An image of an emotion that the model does not know counts as an image of the parent emotion (crying: sad). It is skipped if
    the model does not know that either. Returns measurements with intervals, and the mistakes, the most confident first. Raises
    UsageError for unusable data sets, and if all images are skipped.
    """
    source_images = find_images(datasets, labels)
    model_labels = classifier.card.labels
    usable = [image for image in (_with_model_label(image, model_labels) for image in source_images) if image]
    if not usable:
        raise UsageError(f"The model {classifier.card.name!r} knows none of the emotions in these images.")
    if left_out := len(source_images) - len(usable):
        _log.warning("Skipped %d images of emotions that the model does not know.", left_out)
    images = load_images(usable, classifier.card.input, decoder, emotions=model_labels)
    predicted = _without_rejected_faces(probabilities(classifier, images.pixels, views), images, classifier, decoder, views)
    if closed:
        predicted = restrict_to_occurring(predicted, images)
    evaluation = with_intervals(evaluate(predicted, images.labels, model_labels), predicted, images.labels)
    by_artist = evaluate_by_artist(predicted, images.labels, model_labels, images.artists)
    measured = replace(evaluation, left_out=left_out, faces=images.faces, by_artist=by_artist)
    return measured, mistakes(predicted, images)


def _without_rejected_faces(
    predicted: Floats, images: LabeledImages, classifier: Classifier, decoder: InputDecoder, views: int
) -> Floats:
    """Replace predictions of none for a face by those for the next face with another prediction, or for the whole image."""
    labels = classifier.card.labels
    if NONE not in labels:
        return predicted
    revised, none = predicted.copy(), labels.index(NONE)
    for row in np.flatnonzero(predicted.argmax(axis=1) == none):
        further = decoder.further_views(images.files[row].path, classifier.card.input)
        if len(further):
            others = probabilities(classifier, ImageRows(further), views)
            accepted = np.flatnonzero(others.argmax(axis=1) != none)
            revised[row] = others[accepted[0] if len(accepted) else -1]
    return revised


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
