"""Blends and calibrations: what they fit, and what they do with labels that only some models know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from indexer.domain.errors import ModelUnavailable, UsageError
from indexer.domain.models import ModelCard
from indexer.ports.models import BlendExamples
from models.blending import Blend, make_blend
from models.training.affine_calibration import cross_validate, fit, log_loss
from tests.support.builders import card

LABELS = ("happy", "sad", "crying")


def member(name: str, labels: tuple[str, ...] = LABELS) -> ModelCard:
    return replace(card(name, labels, digest=name), backbone_digest="network")


def predictions(truth: np.ndarray, skill: float, seed: int) -> np.ndarray:
    """Return probabilities, (N, 3), that favor the true label by `skill` in logits, with noise."""
    logits = np.random.default_rng(seed).normal(size=(len(truth), 3)) + skill * np.eye(3)[truth]
    odds = np.exp(logits)
    return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


TRUTH = np.random.default_rng(0).integers(0, 3, 90)


def test_the_better_model_weighs_more_and_the_blend_is_better_than_both() -> None:
    good, poor = predictions(TRUTH, 2.0, 1), predictions(TRUTH, 0.5, 2)
    blend = Blend.of([member("a"), member("b")]).fit([good, poor], TRUTH)
    assert blend.weights[0] > 0.6
    assert blend.weights.sum() == pytest.approx(1)
    combined = blend.combine([good, poor])
    np.testing.assert_allclose(combined.sum(axis=1), 1, atol=1e-5)
    assert log_loss(combined, TRUTH) < min(log_loss(good, TRUTH), log_loss(poor, TRUTH))


def test_a_blend_averages_in_logit_space() -> None:
    first = np.array([[0.8, 0.1, 0.1]], dtype=np.float32)
    second = np.array([[0.2, 0.4, 0.4]], dtype=np.float32)
    combined = Blend.of([member("a"), member("b")]).combine([first, second])
    expected = np.sqrt(first * second)
    np.testing.assert_allclose(combined, expected / expected.sum(), atol=1e-6)


def test_a_label_that_only_one_model_knows_is_that_model_s() -> None:
    blend = Blend.of([member("a", ("happy", "smug")), member("b", ("happy", "sad"))])
    assert blend.labels == ("happy", "sad", "smug")
    combined = blend.combine([np.array([[0.1, 0.9]], dtype=np.float32), np.array([[0.5, 0.5]], dtype=np.float32)])
    assert combined.argmax() == 2


def test_given_weights_and_labels_are_checked(tmp_path: Path) -> None:
    cards = [member("a"), member("b")]
    few = BlendExamples((np.full((3, 3), 1 / 3, dtype=np.float32),) * 2, ("happy", "sad", "sad"))
    for weights in ([1.0], [1.0, -1.0], [0.0, 0.0], [float("nan"), 1.0]):
        with pytest.raises(UsageError, match="2 numbers that are not negative"):
            make_blend(tmp_path, "both", cards, None, weights)
    with pytest.raises(UsageError, match="There are 3 labeled images"):
        make_blend(tmp_path, "both", cards, few, None)
    with pytest.raises(ModelUnavailable, match="older moodex"):
        make_blend(tmp_path, "both", [card("old"), cards[1]], None, [1, 1])
    made, blend, _ = make_blend(tmp_path, "both", cards, None, [3, 1])
    assert made.members == (("a", cards[0].key), ("b", cards[1].key))
    assert made.embedder_key == cards[0].embedder_key
    assert blend.weights.tolist() == [0.75, 0.25]


def test_calibration_corrects_confidence_and_preference() -> None:
    skewed = predictions(TRUTH, 2.0, 3) ** 5 * np.array([1.0, 300.0, 1.0], dtype=np.float32)
    skewed = (skewed / skewed.sum(axis=1, keepdims=True)).astype(np.float32)
    fitted = fit(skewed, TRUTH)
    assert fitted.temperature > 1.2
    assert fitted.offsets.argmin() == 1
    losses = cross_validate(skewed, TRUTH)
    assert losses.after < 0.8 * losses.before


def test_one_image_hardly_calibrates() -> None:
    sure = np.array([[0.9, 0.05, 0.05]], dtype=np.float32)
    fitted = fit(sure, np.array([0]))
    assert 0.5 < fitted.temperature <= 1
    assert np.abs(fitted.offsets).max() < 0.5
