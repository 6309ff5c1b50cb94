"""The contract of classifiers."""

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
    """Return images of random blocks in the input size of a model."""
    blocks = np.random.default_rng(count).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return blocks.repeat(card.input.size // 4, axis=1).repeat(card.input.size // 4, axis=2)


def test_a_classifier_has_a_card_and_a_batch_size(classifier: Classifier) -> None:
    assert isinstance(classifier.card, ModelCard)
    assert classifier.batch_size >= 1


@pytest.mark.parametrize("count", [1, 2, 33])
def test_probabilities_sum_to_one_and_embedding_parts_have_length_one(classifier: Classifier, count: int) -> None:
    scores = classifier.classify(pixels(classifier.card, count))
    assert scores.probabilities.shape == (count, len(classifier.card.labels))
    assert scores.embeddings.shape == (count, classifier.card.embedding_size)
    assert scores.probabilities.dtype == scores.embeddings.dtype == np.float32
    np.testing.assert_allclose(scores.probabilities.sum(axis=1), 1, atol=1e-5)
    for space, _ in classifier.card.spaces or (("all", 0),):
        part = scores.embeddings[:, classifier.card.space_slice(space)]
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1, atol=1e-5)


def test_an_image_has_the_same_scores_alone_and_in_a_batch(classifier: Classifier) -> None:
    batch = pixels(classifier.card, 20)
    in_one_batch = classifier.classify(batch)
    alone = [classifier.classify(batch[i : i + 1]) for i in range(20)]
    assert_same_scores(in_one_batch.probabilities, np.concatenate([s.probabilities for s in alone]))
    assert_same_scores(in_one_batch.embeddings, np.concatenate([s.embeddings for s in alone]))


def test_the_fake_classifier_gives_equal_results_in_every_batch() -> None:
    """The results are equal to the last bit on every processor, so that other tests can compare libraries exactly."""
    classifier = FakeClassifier()
    batch = pixels(classifier.card, 40)
    in_one_batch = classifier.classify(batch)
    for size in (1, 2, 3, 7, 16):
        for start in range(0, len(batch), size):
            part = classifier.classify(batch[start : start + size])
            assert np.array_equal(part.probabilities, in_one_batch.probabilities[start : start + size])
            assert np.array_equal(part.embeddings, in_one_batch.embeddings[start : start + size])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 16])
def test_labels_and_order_do_not_depend_on_the_batch(classifier: Classifier, batch_size: int) -> None:
    images = pixels(classifier.card, 23)
    in_one_batch = classifier.classify(images)
    parts = [classifier.classify(images[start : start + batch_size]) for start in range(0, len(images), batch_size)]
    probabilities = np.concatenate([part.probabilities for part in parts])
    assert_same_scores(probabilities, in_one_batch.probabilities)
    assert_same_scores(np.concatenate([part.embeddings for part in parts]), in_one_batch.embeddings)
    assert np.array_equal(probabilities.argmax(axis=1), in_one_batch.probabilities.argmax(axis=1))
    best = in_one_batch.probabilities.max(axis=1)
    assert np.diff(np.sort(best)).min() > 1e-5, "the order of scores that are so close is arbitrary: choose other images"
    assert np.array_equal(np.argsort(probabilities.max(axis=1)), np.argsort(best))


def test_the_device_is_named(classifier: Classifier) -> None:
    classifier.classify(pixels(classifier.card, 1))
    assert classifier.device == "cpu"


def test_a_lazy_classifier_opens_its_model_for_the_first_image() -> None:
    opened: list[int] = []

    def load() -> Classifier:
        opened.append(1)
        return FakeClassifier()

    lazy = LazyClassifier(FakeClassifier().card, load)
    assert (lazy.device, lazy.card.name, opened) == ("none", "fake", [])
    assert lazy.batch_size == 8
    lazy.classify(pixels(lazy.card, 1))
    assert (lazy.device, opened) == ("cpu", [1])
