"""Evaluation looks at an image as an index run does: a face that the classifier takes for none is no main face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer.analysis.analyzer import Analyzer
from indexer.analysis.input_decoder import InputDecoder
from indexer.domain.images import Face
from indexer.domain.predictions import Scores
from models.training.evaluate import evaluate_model
from models.training.label_mapping import Labels
from models.training.predictors import ModelPredictor
from tests.support.builders import card

COLORS = {"none": (255, 0, 0), "happy": (0, 255, 0), "sad": (0, 0, 255)}
LARGE, SMALL = Face(0.0, 0.0, 0.4, 0.4), Face(0.7, 0.7, 0.9, 0.9)


class ColorClassifier:
    """Names the color in the middle of an image."""

    batch_size = 4

    def __init__(self) -> None:
        self.card = replace(card(), labels=tuple(COLORS))

    def classify(self, pixels: np.ndarray) -> Scores:
        middle = pixels[:, pixels.shape[1] // 2, pixels.shape[2] // 2].astype(np.float32)
        distances = np.stack([np.abs(middle - np.array(color)).sum(axis=1) for color in COLORS.values()], axis=1)
        odds = np.exp(-distances / 100)
        embeddings = np.ones((len(pixels), self.card.embedding_size), dtype=np.float32)
        return Scores((odds / odds.sum(axis=1, keepdims=True)).astype(np.float32), embeddings)


class TwoFaces:
    """Detects a large and a small face in every image."""

    key = "two"

    def detect(self, pages: Sequence[np.ndarray]) -> list[list[Face]]:
        return [[LARGE, SMALL] for _ in pages]


@pytest.mark.parametrize(
    ("large", "small", "middle", "expected"),
    [
        ("happy", "sad", "none", "happy"),
        ("none", "sad", "happy", "sad"),
        ("none", "none", "happy", "happy"),
        ("none", "none", "none", "none"),
    ],
)
def test_a_face_without_an_emotion_is_not_the_main_face(
    large: str, small: str, middle: str, expected: str, tmp_path: Path
) -> None:
    page = Image.new("RGB", (400, 400), COLORS[middle])
    page.paste(COLORS[large], (0, 0, 160, 160))
    page.paste(COLORS[small], (280, 280, 360, 360))
    path = tmp_path / "anna" / "sad" / "page.png"
    path.parent.mkdir(parents=True)
    page.save(path)
    classifier, detector = ColorClassifier(), TwoFaces()
    analyzer = Analyzer(classifier, detector)
    (predictions,) = analyzer.predict([analyzer.decode(path.read_bytes())])
    assert predictions is not None
    in_the_index = classifier.card.labels[int(np.argmax(predictions[0].probabilities))]
    evaluation, _ = evaluate_model(ModelPredictor(classifier, InputDecoder(detector)), [tmp_path], Labels.from_rules(()))
    assert in_the_index == expected
    assert evaluation.confusion[:, classifier.card.labels.index(expected)].sum() == 1
    whole, _ = evaluate_model(ModelPredictor(classifier, InputDecoder()), [tmp_path], Labels.from_rules(()))
    assert whole.confusion[:, classifier.card.labels.index(middle)].sum() == 1
