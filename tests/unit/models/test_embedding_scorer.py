"""The last layer of a model applied to stored embeddings, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models import checkpoint_arrays, zoo
from models.inference.embedding_scorer import EmbeddingScorer, classifier_input, open_scorer
from models.style_baseline import fit_baseline
from models.teaching.linear_head import Head
from models.teaching.replay import extract_head, replace_head, replay_examples, taught_architecture

SHIPPED = zoo.checkpoints()[zoo.DEFAULT]
CARD, STATE = checkpoint_arrays.load_all(SHIPPED)


def embeddings(count: int) -> np.ndarray:
    rows = np.random.default_rng(1).normal(size=(count, CARD.embedding_size))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def test_scores_are_those_of_the_last_layer() -> None:
    scorer, head, vectors = open_scorer(SHIPPED), extract_head(CARD, STATE), embeddings(50)
    expected = head.logits(classifier_input(CARD, vectors))
    np.testing.assert_allclose(scorer.logits(vectors), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(scorer.score(vectors), head.probabilities(classifier_input(CARD, vectors)), atol=1e-5)
    np.testing.assert_allclose(scorer.score(vectors).sum(axis=1), 1, atol=1e-5)


def test_the_mean_logits_are_those_of_the_replay_set() -> None:
    replay = replay_examples(CARD, STATE)
    assert replay is not None
    expected = extract_head(CARD, STATE).logits(replay.vectors).mean(axis=0)
    np.testing.assert_allclose(open_scorer(SHIPPED).mean_logits, expected, atol=1e-3)


def test_a_style_baseline_is_subtracted() -> None:
    vectors = embeddings(40)
    baseline = fit_baseline(CARD, vectors.astype(np.float32))
    random = np.random.default_rng(2)
    whole = Head(
        CARD.labels,
        *(random.normal(size=shape).astype(np.float32) for shape in ((len(CARD.labels), 256), (len(CARD.labels),))),
    )
    scorer = EmbeddingScorer.from_tensors(CARD, replace_head(STATE, whole, baseline))
    assert taught_architecture(CARD, baseline).endswith("usual")
    expected = whole.logits(classifier_input(CARD, vectors, baseline))
    np.testing.assert_allclose(scorer.logits(vectors), expected, rtol=1e-4, atol=1e-3)


def test_a_model_without_a_replay_set_prefers_no_label() -> None:
    tensors = {name: values for name, values in STATE.items() if not name.startswith(checkpoint_arrays.MEMORY)}
    assert not EmbeddingScorer.from_tensors(CARD, tensors).mean_logits.any()


@pytest.mark.process
def test_scoring_needs_no_torch() -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom models.inference.embedding_scorer import open_scorer\n"
        f"open_scorer(Path({str(SHIPPED)!r}))\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
