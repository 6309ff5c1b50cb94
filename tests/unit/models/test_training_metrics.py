from __future__ import annotations

import numpy as np
import pytest
import torch

from models.training.calibration import fit_temperature, fold_temperature, scaled
from models.training.metrics import calibration_error, evaluate, evaluate_by_artist, evaluate_subset, with_intervals

LABELS = ("happy", "sad", "angry")


def certain(*predicted: int) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[list(predicted)]


def test_metrics_of_a_hand_made_case() -> None:
    evaluation = evaluate(certain(0, 0, 0, 1, 0, 2), np.array([0, 0, 0, 1, 1, 2]), LABELS)
    assert evaluation.accuracy == pytest.approx(5 / 6)
    assert evaluation.recall == {"happy": 1.0, "sad": 0.5, "angry": 1.0}
    assert evaluation.balanced_accuracy == pytest.approx(2.5 / 3)
    assert evaluation.macro_f1 == pytest.approx((6 / 7 + 2 / 3 + 1) / 3)
    assert evaluation.chance == pytest.approx(1 / 3)
    assert evaluation.ece == pytest.approx(1 / 6)


def test_labels_that_do_not_occur_are_ignored() -> None:
    evaluation = evaluate(certain(0, 2), np.array([0, 0]), LABELS)
    assert evaluation.recall == {"happy": 0.5} and evaluation.chance == 1


def test_a_subset_evaluates_only_allowed_labels_that_occur() -> None:
    probabilities = np.array([[0.1, 0.2, 0.7], [0.3, 0.6, 0.1], [0.2, 0.2, 0.6]], dtype=np.float32)
    evaluation = evaluate_subset(probabilities, np.array([1, 1, 2]), LABELS, ("happy", "sad"))
    assert evaluation.n == 2 and evaluation.recall == {"sad": 1.0}
    evaluation = evaluate_subset(probabilities, np.array([1, 0, 2]), LABELS, ("happy", "sad"))
    assert evaluation.recall == {"sad": 1.0, "happy": 0.0}
    with pytest.raises(ValueError, match="disgust"):
        evaluate_subset(probabilities, np.array([1, 0, 2]), LABELS, ("disgust",))


def test_calibration_error_of_known_gaps() -> None:
    probabilities = np.array([[0.8, 0.2, 0], [0.8, 0.2, 0], [0.0, 0.5, 0.5], [0.0, 0.55, 0.45]], dtype=np.float32)
    truth = np.array([0, 1, 1, 2])
    assert calibration_error(probabilities, truth) == pytest.approx((abs(1 - 1.6) + abs(1 - 0.5) + abs(0 - 0.55)) / 4)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_fitted_temperature_is_the_one_of_the_labels(temperature: float) -> None:
    random = np.random.default_rng(5)
    logits = random.normal(size=(20_000, 4)).astype(np.float32) * 2
    odds = scaled(logits, temperature)
    truth = (odds.cumsum(axis=1) < random.random((len(odds), 1))).sum(axis=1).clip(0, 3)
    assert fit_temperature(logits, truth) == pytest.approx(temperature, rel=0.08)
    assert calibration_error(scaled(logits, temperature), truth) < 0.02


def test_log_probabilities_serve_as_logits() -> None:
    logits = np.random.default_rng(6).normal(size=(5, 3)).astype(np.float32)
    assert np.allclose(scaled(np.log(scaled(logits, 1.0)), 2.5), scaled(logits, 2.5), atol=1e-6)


def test_folding_divides_the_last_layer_only() -> None:
    state = {"classifier.weight": torch.full((2, 2), 4.0), "classifier.bias": torch.ones(2), "stem": torch.ones(1)}
    folded = fold_temperature(state, 2.0)
    assert folded["classifier.weight"].unique().item() == 2.0
    assert folded["classifier.bias"].unique().item() == 0.5
    assert folded["stem"].item() == 1.0


def test_metrics_by_class_and_confusion() -> None:
    evaluation = evaluate(certain(0, 0, 1, 1, 0), np.array([0, 0, 1, 0, 2]), LABELS)
    assert evaluation.confusion.tolist() == [[2, 1, 0], [0, 1, 0], [1, 0, 0]]
    happy = evaluation.per_class["happy"]
    assert (happy.precision, happy.recall, happy.support) == (pytest.approx(2 / 3), pytest.approx(2 / 3), 3)
    assert evaluation.per_class["angry"].precision == 0 and evaluation.per_class["angry"].support == 1
    as_json = evaluation.as_json()
    assert {"n", "accuracy", "balanced_accuracy", "macro_f1", "ece", "per_class", "labels"} <= as_json.keys()
    assert as_json["n"] == 5 and as_json["labels"] == list(LABELS)
    assert as_json["per_class"]["sad"] == {"precision": 0.5, "recall": 1.0, "f1": 0.6667, "support": 1}


def test_intervals_narrow_with_more_images() -> None:
    random = np.random.default_rng(1)
    widths = []
    for count in (60, 2000):
        truth = random.integers(0, 3, count)
        predicted = np.where(random.random(count) < 0.7, truth, random.integers(0, 3, count))
        probabilities = certain(*predicted) * 0.8 + 0.2 / 3
        evaluation = with_intervals(evaluate(probabilities, truth, LABELS), probabilities, truth)
        for name, (low, high) in evaluation.intervals.items():
            assert low <= getattr(evaluation, name) <= high
        low, high = evaluation.intervals["accuracy"]
        # The normal approximation of the interval of a proportion.
        assert high - low == pytest.approx(2 * 1.96 * np.sqrt(evaluation.accuracy * (1 - evaluation.accuracy) / count), rel=0.25)
        widths.append(high - low)
        assert evaluation.temperature == pytest.approx(1.0, abs=0.6)
    assert widths[1] < widths[0] / 3


def test_artists_are_measured_separately_and_count_equally() -> None:
    truth = np.array([0, 0, 1, 1, 0, 0, 0, 0, 1, 1])
    artists = ["zoe"] * 4 + ["anna"] * 4 + ["mia"] * 2
    probabilities = certain(0, 0, 1, 0, 0, 0, 0, 0, 0, 0)
    by_artist = evaluate_by_artist(probabilities, truth, LABELS, artists)
    assert by_artist is not None and list(by_artist.evaluations) == ["anna", "mia", "zoe"]
    assert [each.n for each in by_artist.evaluations.values()] == [4, 2, 4]
    assert [each.balanced_accuracy for each in by_artist.evaluations.values()] == [1, 0, 0.75]
    assert [each.chance for each in by_artist.evaluations.values()] == [1, 1, 0.5]
    assert by_artist.means["balanced_accuracy"] == pytest.approx(1.75 / 3)
    assert by_artist.means["ece"] == pytest.approx((0 + 1 + 0.25) / 3)
    low, high = by_artist.evaluations["zoe"].intervals["balanced_accuracy"]
    assert 0 <= low < 0.75 < high <= 1
    assert by_artist.evaluations["anna"].intervals["balanced_accuracy"] == (1, 1)
    as_json = by_artist.as_json()
    assert as_json["artists"]["zoe"]["accuracy"] == 0.75 and as_json["mean"]["balanced_accuracy"] == 0.5833
    assert as_json["mean"]["intervals"].keys() == {"accuracy", "balanced_accuracy", "ece"}


def test_one_artist_is_not_reported_twice() -> None:
    assert evaluate_by_artist(certain(0, 1), np.array([0, 1]), LABELS, ["anna", "anna"]) is None


def test_the_interval_of_the_mean_is_over_artists_not_over_images() -> None:
    """Each artist is either always right or always wrong, so that more images of the same artists tell nothing new."""
    intervals = []
    for images in (4, 200):
        truth = np.tile([0, 1], 10 * images // 2)
        artists = np.repeat([f"artist{number}" for number in range(10)], images).tolist()
        is_right = np.repeat(np.arange(10) % 2 == 0, images)
        by_artist = evaluate_by_artist(certain(*np.where(is_right, truth, 2)), truth, LABELS, artists)
        assert by_artist is not None and by_artist.means["accuracy"] == 0.5
        intervals.append(by_artist.intervals["accuracy"])
    assert intervals[0] == intervals[1]
    # The normal approximation: the standard deviation of the mean of ten artists is 0.5 / sqrt(10).
    assert intervals[0][1] - intervals[0][0] == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(10), rel=0.15)


def test_reliability_counts_every_image_once() -> None:
    random = np.random.default_rng(2)
    probabilities = random.dirichlet(np.ones(3), 500).astype(np.float32)
    evaluation = evaluate(probabilities, random.integers(0, 3, 500), LABELS)
    assert sum(count for _, _, count in evaluation.reliability) == 500
    assert all(1 / 3 <= confidence <= 1 and 0 <= accuracy <= 1 for confidence, accuracy, _ in evaluation.reliability)
