"""Calibration of a tagger's emotions on labeled images. Its tags and embeddings stay."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.errors import UsageError
from indexer.domain.reports import CalibrationReport
from models import checkpoint_arrays
from models.hub.head import calibrated, is_taught
from models.model_card import read_card
from models.training.affine_calibration import cross_validate, fit
from models.training.metrics import calibration_error

if TYPE_CHECKING:
    from indexer.ports.store_writer import Combine
    from models.model_registry import FolderModelRegistry
    from models.training.judged import Judged

LEAST_IMAGES = 20


def check_calibratable(registry: FolderModelRegistry, name: str) -> None:
    """Raise UsageError unless a model is a tagger that was not taught, ModelUnavailable if it is unknown."""
    card = read_card(registry.find(name))
    if card.hub is None:
        raise UsageError(f"{name!r} is not a model of a hub; moodex train and moodex teach calibrate the models that they make.")
    if is_taught(card):
        raise UsageError(f"{name!r} was taught, which calibrates it; calibrate the model that it was taught from.")


def calibrate(registry: FolderModelRegistry, name: str, judged: Judged) -> tuple[CalibrationReport, Combine]:
    """Fit temperature and offsets of a tagger to its predictions for labeled images, and write it again under its name.

    Returns also the function from earlier to calibrated probabilities. Nothing is written unless the log loss on held-out images
    falls. Raises UsageError for too few images.
    """
    judged = judged.known()
    if len(judged.truth) < LEAST_IMAGES or len(set(judged.truth)) < 2:
        raise UsageError(
            f"There are {len(judged.truth)} images of {len(set(judged.truth))} emotions that {name!r} knows; calibration needs "
            f"at least {LEAST_IMAGES} of two."
        )
    truth = np.array([judged.labels.index(emotion) for emotion in judged.truth], dtype=np.int64)
    losses = cross_validate(judged.probabilities, truth)
    fitted = fit(judged.probabilities, truth)
    is_better = losses.after < losses.before
    if is_better:
        card, state = checkpoint_arrays.load_all(registry.find(name))
        facts = {"images": len(truth), "temperature": round(fitted.temperature, 4), "log_loss": round(losses.after, 4)}
        card = replace(card, about={**card.about, "calibrated": facts})
        weights = registry.path_for_new(name, force=True)
        checkpoint_arrays.save(weights.parent, card, calibrated(card, state, fitted.temperature, fitted.offsets))
    report = CalibrationReport(
        model=name,
        images=len(truth),
        log_loss_before=losses.before,
        log_loss_after=losses.after,
        ece_before=calibration_error(judged.probabilities, truth),
        ece_after=calibration_error(fitted.apply(judged.probabilities), truth),
        changed=is_better,
    )
    return report, lambda earlier: fitted.apply(earlier[0])
