"""The shipped model: its card is complete, and its scores are those of the release."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from indexer.domain.emotions import OUTCOMES
from indexer.domain.models import ModelCard
from models import zoo
from models.inference.classifier import TorchClassifier
from models.model_card import read_card
from models.training.model_card_markdown import markdown

GOLDEN = {
    "happy": 0.0212,
    "sad": 0.0259,
    "angry": 0.0236,
    "surprise": 0.0222,
    "fear": 0.0261,
    "disgust": 0.0214,
    "neutral": 0.023,
    "crying": 0.0345,
    "embarrassed": 0.0223,
    "pleased": 0.0248,
    "none": 0.7551,
}


@pytest.fixture(scope="module")
def path() -> Path:
    return zoo.checkpoints()[zoo.DEFAULT]


@pytest.fixture(scope="module")
def card(path: Path) -> ModelCard:
    return read_card(path)


def test_the_model_has_every_emotion_and_its_name(card: ModelCard, path: Path) -> None:
    assert card.name == zoo.DEFAULT
    assert card.labels == OUTCOMES
    assert path.stat().st_size < 10_000_000


def test_the_card_lists_training_data_and_licences(card: ModelCard) -> None:
    data = card.about["data"]
    assert sum(entry["pictures"] for entry in data) == card.about["pictures"]
    for entry in data:
        assert entry["artist"] and entry["licence"] and entry["credit"] and entry["url"], entry["set"]


def test_the_card_has_measurements_and_limits(card: ModelCard) -> None:
    novels = card.about["measured"]["unseen"]["groups"]["visual novels"]
    assert novels["beside"]["five"] > novels["alone"]["five"] > 0.4 and novels["beside"]["five_interval"][0] > 0.3
    assert card.about["limits"] and card.about["tried"]


def test_the_scores_are_those_of_the_release(path: Path) -> None:
    classifier = TorchClassifier.open(path, "cpu")
    size = classifier.card.input.size
    y, x = np.mgrid[0:size, 0:size].astype(np.float64)
    waves = np.stack([np.sin(x / 7 + y / 13), np.sin(x / 5 - y / 11), np.cos(x * y / 997)], axis=-1)
    pixels = np.rint(127.5 + 127.5 * waves).astype(np.uint8)[None]
    scores = dict(zip(OUTCOMES, classifier.classify(pixels).probabilities[0].tolist(), strict=True))
    assert scores == pytest.approx(GOLDEN, abs=1e-3)


def test_the_page_matches_the_card(card: ModelCard) -> None:
    page = Path(__file__).parents[3] / "docs" / "explanation" / "model-card.md"
    assert page.read_text(encoding="utf-8") == markdown(card)
