"""Reading what a picture feels beside what is usual for its look: characters that always look angry can be told apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from indexer.domain.errors import ModelUnavailable
from indexer.domain.models import FEEL, LOOK
from models import checkpoint, zoo
from models.inference.classifier import OnnxClassifier
from models.inference.module import build_inference_module
from models.style_baseline import GROUPS, fit_baseline
from models.teaching.fit import one_hot, teach
from models.teaching.linear_head import Examples, Head
from models.teaching.replay import classifier_input, extract_head, replace_head, taught_architecture

CHARACTERS, EXPRESSIONS = 20, 12
SHIPPED = zoo.checkpoints()[zoo.DEFAULT]
CARD, STATE = checkpoint.load(SHIPPED)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def library(own: float) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of characters with expressions, and which of two emotions they show: what is felt is the emotion's direction
    and, `own` times as long, the character's own.
    """
    random = np.random.default_rng(0)
    emotion, faces, looks = (random.normal(size=(count, 128)) for count in (2, CHARACTERS, CHARACTERS))
    who = np.repeat(np.arange(CHARACTERS), EXPRESSIONS)
    truth = np.tile(np.arange(EXPRESSIONS) % 2, CHARACTERS)
    feel = unit(emotion)[truth] + own * unit(faces)[who] + random.normal(size=(len(who), 128)) * 0.03
    look = unit(looks)[who] + random.normal(size=(len(who), 128)) * 0.01
    return np.concatenate([unit(feel), unit(look)], axis=1), truth


def test_what_is_usual_is_what_look_alikes_feel_on_average() -> None:
    embeddings, _ = library(own=2.0)
    usual = fit_baseline(CARD, embeddings)
    assert usual.looks.shape == usual.feels.shape == (GROUPS, 128) and usual.looks.dtype == np.float32
    feel, look = embeddings[:, CARD.space_slice(FEEL)], embeddings[:, CARD.space_slice(LOOK)]
    centred = feel - feel.mean(axis=0)
    left = centred - usual.expected_expression(look)
    assert np.square(left).sum() < 0.35 * np.square(centred).sum()
    again = fit_baseline(CARD, embeddings)
    assert np.array_equal(usual.looks, again.looks) and np.array_equal(usual.feels, again.feels)


def test_one_picture_is_a_library_too() -> None:
    embeddings, _ = library(own=1.0)
    usual = fit_baseline(CARD, embeddings[:1])
    assert np.isfinite(usual.looks).all() and not usual.feels.any()


@pytest.mark.parametrize(("own", "read_as"), [(4.0, {1}), (0.0, {0, 1})])
def test_labels_choose_how_pictures_are_read(own: float, read_as: set[int]) -> None:
    """Where characters differ by more than emotions, beside what is usual; where they do not, either way serves."""
    embeddings, truth = library(own)
    usual = fit_baseline(CARD, embeddings)
    readings = [classifier_input(CARD, embeddings), classifier_input(CARD, embeddings, usual)]
    random = np.random.default_rng(1)
    given = random.permutation(len(truth))[:24]
    labels = ("happy", "sad")
    old = Head(labels, torch.zeros(2, 256), torch.zeros(2))
    nothing = Examples(torch.zeros(2, 256), one_hot(np.arange(2), 2))
    said = random.permutation([labels[one] for one in truth[given]]).tolist()
    taught = teach(old, [rows[given] for rows in readings], [labels[one] for one in truth[given]], nothing, said, lambda: None)
    assert taught.head is not None and taught.reading in read_as
    assert (taught.head.logits(readings[taught.reading]).argmax(axis=1) == truth).mean() > 0.9


def test_a_checkpoint_reads_beside_what_is_usual_on_every_way(tmp_path: Path) -> None:
    """The network, ONNX Runtime and the last layer alone say the same of a picture; embeddings are those of the first model."""
    card, stored = checkpoint.load_all(SHIPPED)
    embeddings, _ = library(own=1.0)
    usual = fit_baseline(card, embeddings)
    head = extract_head(card, stored)
    named = replace(card, name="beside", architecture=taught_architecture(card, usual))
    path = checkpoint.save(tmp_path, named, replace_head(stored, head, usual))
    written, state = checkpoint.load(path)
    assert written.architecture.endswith("+usual") and written.embedder_key == card.embedder_key
    pixels = np.random.default_rng(3).integers(0, 255, (4, card.input.size, card.input.size, 3), dtype=np.uint8)
    with torch.inference_mode():
        by_torch, vectors = (part.numpy() for part in build_inference_module(written, state)(torch.from_numpy(pixels)))
        plain = build_inference_module(CARD, STATE)(torch.from_numpy(pixels))[1].numpy()
    np.testing.assert_allclose(vectors, plain, atol=1e-5)
    by_layer = extract_head(written, state).probabilities(classifier_input(written, vectors, usual))
    np.testing.assert_allclose(by_layer, by_torch, atol=1e-3)
    by_onnx = OnnxClassifier.open(path).classify(pixels)
    np.testing.assert_allclose(by_onnx.probabilities, by_torch, atol=1e-3)


def test_a_checkpoint_that_does_not_say_what_is_usual_is_refused(tmp_path: Path) -> None:
    card, stored = checkpoint.load_all(SHIPPED)
    usual = fit_baseline(card, library(own=1.0)[0])
    state = replace_head(stored, extract_head(card, stored), usual)
    del state["usual.feels"]
    named = replace(card, name="beside", architecture=taught_architecture(card, usual))
    path = checkpoint.save(tmp_path, named, state)
    for open_it in (OnnxClassifier.open, checkpoint.load):
        with pytest.raises(ModelUnavailable, match=r"usual\.feels"):
            open_it(path)
