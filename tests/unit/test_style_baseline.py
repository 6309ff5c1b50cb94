"""Style baselines: the mean expression of similar images, which removes a bias of the classifier."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from indexer.domain.errors import ModelUnavailable
from indexer.domain.models import APPEARANCE, EXPRESSION
from models import checkpoint, checkpoint_arrays, zoo
from models.inference.classifier import OnnxClassifier
from models.inference.embedding_scorer import classifier_input
from models.inference.module import build_inference_module
from models.style_baseline import GROUPS, fit_baseline
from models.teaching.fit import one_hot, teach
from models.teaching.linear_head import Examples, Head
from models.teaching.replay import extract_head, replace_head, taught_architecture

CHARACTERS, EXPRESSIONS = 20, 12
SHIPPED = zoo.checkpoints()[zoo.DEFAULT]
CARD, STATE = checkpoint.load(SHIPPED)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def make_library(character_weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings of characters with expressions, and the emotion, 0 or 1, that each shows.

    An expression is the direction of its emotion plus `character_weight` times the direction of its character.
    """
    random = np.random.default_rng(0)
    emotions, character_expressions, appearances = (random.normal(size=(count, 128)) for count in (2, CHARACTERS, CHARACTERS))
    characters = np.repeat(np.arange(CHARACTERS), EXPRESSIONS)
    truth = np.tile(np.arange(EXPRESSIONS) % 2, CHARACTERS)
    expression = (
        unit(emotions)[truth]
        + character_weight * unit(character_expressions)[characters]
        + random.normal(size=(len(characters), 128)) * 0.03
    )
    appearance = unit(appearances)[characters] + random.normal(size=(len(characters), 128)) * 0.01
    return np.concatenate([unit(expression), unit(appearance)], axis=1), truth


def test_a_baseline_is_the_mean_expression_of_similar_images() -> None:
    embeddings, _ = make_library(character_weight=2.0)
    baseline = fit_baseline(CARD, embeddings)
    assert baseline.appearances.shape == baseline.expressions.shape == (GROUPS, 128) and baseline.appearances.dtype == np.float32
    expressions, appearances = embeddings[:, CARD.space_slice(EXPRESSION)], embeddings[:, CARD.space_slice(APPEARANCE)]
    centered = expressions - expressions.mean(axis=0)
    residual = centered - baseline.expected_expression(appearances)
    assert np.square(residual).sum() < 0.35 * np.square(centered).sum()
    again = fit_baseline(CARD, embeddings)
    assert np.array_equal(baseline.appearances, again.appearances) and np.array_equal(baseline.expressions, again.expressions)


def test_a_baseline_of_one_image_is_zero() -> None:
    embeddings, _ = make_library(character_weight=1.0)
    baseline = fit_baseline(CARD, embeddings[:1])
    assert np.isfinite(baseline.appearances).all() and not baseline.expressions.any()


@pytest.mark.parametrize(("character_weight", "expected_input_forms"), [(4.0, {1}), (0.0, {0, 1})])
def test_labels_decide_whether_the_baseline_is_subtracted(character_weight: float, expected_input_forms: set[int]) -> None:
    """If characters differ more than emotions, it is subtracted; if characters do not differ, either input form is right."""
    embeddings, truth = make_library(character_weight)
    baseline = fit_baseline(CARD, embeddings)
    input_forms = [classifier_input(CARD, embeddings), classifier_input(CARD, embeddings, baseline)]
    random = np.random.default_rng(1)
    labeled = random.permutation(len(truth))[:24]
    labels = ("happy", "sad")
    old = Head(labels, np.zeros((2, 256), dtype=np.float32), np.zeros(2, dtype=np.float32))
    replay = Examples(np.zeros((2, 256), dtype=np.float32), one_hot(np.arange(2), 2))
    user_labels = [labels[emotion] for emotion in truth[labeled]]
    predicted = random.permutation(user_labels).tolist()
    taught = teach(old, [rows[labeled] for rows in input_forms], user_labels, replay, predicted, lambda: None)
    assert taught.head is not None and taught.input_form in expected_input_forms
    assert (taught.head.logits(input_forms[taught.input_form]).argmax(axis=1) == truth).mean() > 0.9


def test_a_checkpoint_with_a_baseline_gives_the_same_scores_everywhere(tmp_path: Path) -> None:
    """The network, ONNX Runtime and the last layer alone agree; the embeddings are those of the shipped model."""
    card, stored = checkpoint_arrays.load_all(SHIPPED)
    embeddings, _ = make_library(character_weight=1.0)
    baseline = fit_baseline(card, embeddings)
    head = extract_head(card, stored)
    taught_card = replace(card, name="taught", architecture=taught_architecture(card, baseline))
    path = checkpoint_arrays.save(tmp_path, taught_card, replace_head(stored, head, baseline))
    written, state = checkpoint.load(path)
    assert written.architecture.endswith("+usual") and written.embedder_key == card.embedder_key
    pixels = np.random.default_rng(3).integers(0, 255, (4, card.input.size, card.input.size, 3), dtype=np.uint8)
    with torch.inference_mode():
        by_torch, vectors = (part.numpy() for part in build_inference_module(written, state)(torch.from_numpy(pixels)))
        plain = build_inference_module(CARD, STATE)(torch.from_numpy(pixels))[1].numpy()
    np.testing.assert_allclose(vectors, plain, atol=1e-5)
    by_layer = extract_head(*checkpoint_arrays.load_all(path)).probabilities(classifier_input(written, vectors, baseline))
    np.testing.assert_allclose(by_layer, by_torch, atol=1e-3)
    by_onnx = OnnxClassifier.open(path).classify(pixels)
    np.testing.assert_allclose(by_onnx.probabilities, by_torch, atol=1e-3)


def test_a_checkpoint_without_its_baseline_is_refused(tmp_path: Path) -> None:
    card, stored = checkpoint_arrays.load_all(SHIPPED)
    baseline = fit_baseline(card, make_library(character_weight=1.0)[0])
    state = replace_head(stored, extract_head(card, stored), baseline)
    del state["usual.feels"]
    taught_card = replace(card, name="taught", architecture=taught_architecture(card, baseline))
    path = checkpoint_arrays.save(tmp_path, taught_card, state)
    for open_checkpoint in (OnnxClassifier.open, checkpoint.load):
        with pytest.raises(ModelUnavailable, match=r"usual\.feels"):
            open_checkpoint(path)
