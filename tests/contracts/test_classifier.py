"""What every classifier promises, whichever it is."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.domain.models import ModelCard
from indexer.ports.models import Classifier
from models import zoo
from models.inference.classifier import OnnxClassifier, TorchClassifier
from models.inference.lazy import LazyClassifier
from models.model_card import read_card
from tests.support.fake_models import FakeClassifier
from tests.support.scores import assert_same_scores


@pytest.fixture(scope="module", params=["fake", "torch", "onnx", "lazy"])
def classifier(request: pytest.FixtureRequest) -> Classifier:
    weights = zoo.checkpoints()[zoo.DEFAULT]
    match request.param:
        case "fake":
            return FakeClassifier()
        case "torch":
            return TorchClassifier.open(weights, device="cpu")
        case "onnx":
            return OnnxClassifier.open(weights)
        case _:
            return LazyClassifier(read_card(weights), lambda: TorchClassifier.open(weights, device="cpu", batch_size=3))


def pixels(card: ModelCard, count: int) -> np.ndarray:
    blocks = np.random.default_rng(count).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return blocks.repeat(card.input.size // 4, axis=1).repeat(card.input.size // 4, axis=2)


def test_it_knows_its_card_and_its_batch_size(classifier: Classifier) -> None:
    assert isinstance(classifier.card, ModelCard)
    assert classifier.batch_size >= 1


@pytest.mark.parametrize("count", [1, 2, 33])
def test_probabilities_sum_to_one_and_each_part_of_an_embedding_has_length_one(classifier: Classifier, count: int) -> None:
    scores = classifier.classify(pixels(classifier.card, count))
    assert scores.probabilities.shape == (count, len(classifier.card.labels))
    assert scores.embeddings.shape == (count, classifier.card.embedding_size)
    assert scores.probabilities.dtype == scores.embeddings.dtype == np.float32
    np.testing.assert_allclose(scores.probabilities.sum(axis=1), 1, atol=1e-5)
    for space, _ in classifier.card.spaces or (("all", 0),):
        part = scores.embeddings[:, classifier.card.space_slice(space)]
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1, atol=1e-5)


def test_a_picture_is_judged_the_same_in_any_company(classifier: Classifier) -> None:
    batch = pixels(classifier.card, 20)
    together = classifier.classify(batch)
    alone = [classifier.classify(batch[i : i + 1]) for i in range(20)]
    assert_same_scores(together.probabilities, np.concatenate([s.probabilities for s in alone]))
    assert_same_scores(together.embeddings, np.concatenate([s.embeddings for s in alone]))


def test_the_model_of_the_tests_gives_equal_answers_in_any_company() -> None:
    """To the last bit, so that tests of everything else can compare whole libraries exactly, on every processor."""
    classifier = FakeClassifier()
    batch = pixels(classifier.card, 40)
    together = classifier.classify(batch)
    for size in (1, 2, 3, 7, 16):
        for start in range(0, len(batch), size):
            part = classifier.classify(batch[start : start + size])
            assert np.array_equal(part.probabilities, together.probabilities[start : start + size])
            assert np.array_equal(part.embeddings, together.embeddings[start : start + size])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 16])
def test_labels_and_order_do_not_depend_on_the_batch(classifier: Classifier, batch_size: int) -> None:
    images = pixels(classifier.card, 23)
    together = classifier.classify(images)
    parts = [classifier.classify(images[start : start + batch_size]) for start in range(0, len(images), batch_size)]
    probabilities = np.concatenate([part.probabilities for part in parts])
    assert_same_scores(probabilities, together.probabilities)
    assert_same_scores(np.concatenate([part.embeddings for part in parts]), together.embeddings)
    assert np.array_equal(probabilities.argmax(axis=1), together.probabilities.argmax(axis=1))
    best = together.probabilities.max(axis=1)
    assert np.diff(np.sort(best)).min() > 1e-5, "scores as near as this have no order: choose other images"
    assert np.array_equal(np.argsort(probabilities.max(axis=1)), np.argsort(best))


def test_the_device_is_named(classifier: Classifier) -> None:
    classifier.classify(pixels(classifier.card, 1))
    assert classifier.device == "cpu"


def test_a_lazy_one_opens_nothing_before_it_must() -> None:
    opened: list[int] = []

    def load() -> Classifier:
        opened.append(1)
        return FakeClassifier()

    lazy = LazyClassifier(FakeClassifier().card, load)
    assert (lazy.device, lazy.card.name, opened) == ("none", "fake", [])
    assert lazy.batch_size == 8
    lazy.classify(pixels(lazy.card, 1))
    assert (lazy.device, opened) == ("cpu", [1])
