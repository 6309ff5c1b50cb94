"""What a checkpoint is worth on a data set: what `moodex evaluate` does."""

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
from models.inference.classifier import TorchClassifier
from models.training.dataset import Decode, LabeledImages, load_images
from models.training.dataset_readers import SourceImage, find_images
from models.training.label_mapping import Labels
from models.training.metrics import evaluate, with_intervals
from models.training.test_time_augmentation import probabilities

if TYPE_CHECKING:
    from indexer.domain.types import Floats

_log = logging.getLogger(__name__)


def evaluate_model(
    classifier: TorchClassifier, datasets: Sequence[Path], labels: Labels, decode: Decode, closed: bool = False, views: int = 1
) -> tuple[Evaluation, list[Mistake]]:
    """A classifier's measures on data sets, with intervals, and what it got wrong, the surest first.

    A picture of an emotion that the model does not know counts as its parent (crying: sad), or is left out where the model does
    not know that either. `closed` lets the model guess only among the emotions that occur. Raises UsageError where no picture is
    left.
    """
    found = find_images(datasets, labels)
    known = classifier.card.labels
    usable = [picture for picture in (_as_known(picture, known) for picture in found) if picture]
    if not usable:
        raise UsageError(f"The model {classifier.card.name!r} knows none of the emotions in these pictures.")
    if left_out := len(found) - len(usable):
        _log.warning("Left out %d pictures of emotions that the model does not know.", left_out)
    pictures = load_images(usable, classifier.card.input, decode, emotions=known)
    said = probabilities(classifier, pictures.pixels, views)
    if closed:
        said = evaluate_occurring(said, pictures)
    evaluation = with_intervals(evaluate(said, pictures.labels, known), said, pictures.labels)
    return replace(evaluation, left_out=left_out), mistakes(said, pictures)


def evaluate_occurring(said: Floats, pictures: LabeledImages) -> Floats:
    """Probabilities with those of emotions that do not occur set to 0, and the rest scaled to sum to 1."""
    occurs = np.isin(np.arange(said.shape[1]), pictures.labels)
    kept = np.where(occurs, said, 0) + np.where(occurs, 1e-12, 0)
    shared: Floats = (kept / kept.sum(axis=1, keepdims=True)).astype(np.float32)
    return shared


def mistakes(said: Floats, pictures: LabeledImages) -> list[Mistake]:
    """The pictures guessed wrongly, the surest first. `said` is float32, (N, labels)."""
    guessed, confidence = said.argmax(axis=1), said.max(axis=1)
    wrong = np.flatnonzero(guessed != pictures.labels)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")]
    return [
        Mistake(
            pictures.files[row].path,
            pictures.emotions[pictures.labels[row]],
            pictures.emotions[guessed[row]],
            float(confidence[row]),
        )
        for row in wrong
    ]


def _as_known(picture: SourceImage, known: Sequence[str]) -> SourceImage | None:
    if picture.emotion in known:
        return picture
    parent = PARENTS.get(picture.emotion)
    return replace(picture, emotion=parent) if parent in known and parent is not None else None
