"""Teaching a last layer: it learns labels, keeps what it knew, and changes only if it becomes clearly better."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.domain.errors import Interrupted, UsageError
from models.clustering import pick_representatives
from models.teaching.fit import one_hot, teach
from models.teaching.linear_head import Examples, Head, RefitSettings, refit
from models.teaching.select import select_informative

SIZE = 16
LABELS = ("happy", "sad", "angry")


def clouds(centers: np.ndarray, each: int, seed: int = 0, spread: float = 0.08) -> tuple[np.ndarray, np.ndarray]:
    """Return unit vectors, `each` around every center, and the numbers of their centers."""
    random = np.random.default_rng(seed)
    numbers = np.repeat(np.arange(len(centers)), each)
    vectors = centers[numbers] + random.normal(size=(len(numbers), centers.shape[1])) * spread
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), numbers


def directions(count: int, seed: int = 1) -> np.ndarray:
    square = np.linalg.qr(np.random.default_rng(seed).normal(size=(SIZE, SIZE)))[0]
    return square[:count]


OLD_STYLE, NEW_STYLE = directions(3), directions(6)[3:]


def old_head() -> tuple[Head, Examples]:
    """Return a head that knows the old style but not the new one, and its replay set."""
    vectors, numbers = clouds(OLD_STYLE, 30)
    replay = Examples(vectors, one_hot(numbers, 3))
    return Head(LABELS, (OLD_STYLE * 16).astype(np.float32), np.zeros(3, dtype=np.float32)), replay


def predict(head: Head, vectors: np.ndarray) -> list[str]:
    return [head.labels[best] for best in head.logits(vectors).argmax(axis=1)]


def accuracy(head: Head, style: np.ndarray, seed: int = 9) -> float:
    vectors, numbers = clouds(style, 50, seed)
    return float(np.mean([label == LABELS[number] for label, number in zip(predict(head, vectors), numbers, strict=True)]))


def never_stop() -> None:
    """Request no stop."""


def test_a_new_style_is_learned_and_the_old_one_is_kept() -> None:
    head, replay = old_head()
    vectors, numbers = clouds(NEW_STYLE, 5, seed=3)
    labels = [LABELS[number] for number in numbers]
    assert accuracy(head, NEW_STYLE) < 0.7
    taught = teach(head, [vectors], labels, replay, predict(head, vectors), never_stop)
    assert taught.head is not None and taught.after > taught.before and taught.tested == 15
    assert accuracy(taught.head, NEW_STYLE) > 0.95
    assert accuracy(taught.head, OLD_STYLE) > 0.95


def test_an_emotion_of_the_user_is_learned() -> None:
    head, replay = old_head()
    vectors, numbers = clouds(np.concatenate([OLD_STYLE[:2], NEW_STYLE[:1]]), 6, seed=4)
    labels = [("happy", "sad", "smug")[number] for number in numbers]
    taught = teach(head, [vectors], labels, replay, predict(head, vectors), never_stop)
    assert taught.head is not None and taught.head.labels == (*LABELS, "smug")
    smug, _ = clouds(NEW_STYLE[:1], 20, seed=5)
    assert predict(taught.head, smug) == ["smug"] * 20
    np.testing.assert_allclose(taught.head.probabilities(smug).sum(axis=1), 1, atol=1e-5)
    assert accuracy(taught.head, OLD_STYLE) > 0.95


def test_labels_without_new_information_leave_the_head_unchanged() -> None:
    head, replay = old_head()
    vectors, numbers = clouds(OLD_STYLE, 8, seed=6)
    already_correct = teach(head, [vectors], [LABELS[number] for number in numbers], replay, predict(head, vectors), never_stop)
    assert already_correct.head is None and already_correct.before == 1.0
    random = np.random.default_rng(0)
    noise = teach(head, [vectors], random.choice(LABELS, len(vectors)).tolist(), replay, predict(head, vectors), never_stop)
    assert noise.head is None


def test_random_labels_are_not_learned() -> None:
    """A model that predicts only unlabeled emotions is not a baseline: any head that knows which labels occur would win."""
    head, replay = old_head()
    vectors, _ = clouds(directions(9, seed=8)[6:], 12, seed=7)
    accepted = 0
    for seed in range(10):
        labels = np.random.default_rng(seed).choice(LABELS[:2], len(vectors)).tolist()
        accepted += teach(head, [vectors], labels, replay, ["angry"] * len(labels), never_stop).head is not None
    assert accepted <= 1


def test_a_single_emotion_cannot_be_tested() -> None:
    head, replay = old_head()
    vectors, _ = clouds(NEW_STYLE, 4, seed=3)
    with pytest.raises(UsageError, match="at least two emotions need two images"):
        teach(head, [vectors[:5]], ["sad"] * 4 + ["happy"], replay, ["happy"] * 5, never_stop)


def test_a_stop_request_interrupts_teaching() -> None:
    head, replay = old_head()
    vectors, numbers = clouds(NEW_STYLE, 5, seed=3)
    checks = 0

    def stop_at_the_fourth_check() -> None:
        nonlocal checks
        checks += 1
        if checks > 3:
            raise Interrupted("Stopped.", 2)

    with pytest.raises(Interrupted):
        teach(head, [vectors], [LABELS[number] for number in numbers], replay, predict(head, vectors), stop_at_the_fourth_check)
    assert checks == 4


def test_teaching_is_deterministic() -> None:
    head, replay = old_head()
    vectors, numbers = clouds(NEW_STYLE, 5, seed=3)
    labels = [LABELS[number] for number in numbers]
    first, second = (teach(head, [vectors], labels, replay, predict(head, vectors), never_stop) for _ in range(2))
    assert first.head is not None and second.head is not None
    assert np.array_equal(first.head.matrix, second.head.matrix) and np.array_equal(first.head.bias, second.head.bias)


def test_duplicates_of_one_image_are_not_evidence() -> None:
    head, replay = old_head()
    vectors, _ = clouds(NEW_STYLE[:2], 1)
    with pytest.raises(UsageError, match="not near-duplicates"):
        teach(head, [np.repeat(vectors, 5, axis=0)], ["happy"] * 5 + ["sad"] * 5, replay, ["sad"] * 10, never_stop)


def test_a_strong_anchor_holds_the_head() -> None:
    head, replay = old_head()
    vectors, numbers = clouds(NEW_STYLE, 5)
    new = Examples(vectors, one_hot(numbers, 3))
    anchored, free = (refit(head, new, replay, RefitSettings(0.9, anchor)) for anchor in (1e6, 1e-4))
    assert np.allclose(anchored.matrix, head.matrix, atol=1e-3)
    assert not np.allclose(free.matrix, head.matrix, atol=1e-1)


def test_representatives_are_one_from_each_unlabeled_group() -> None:
    centers = directions(6)
    vectors, numbers = clouds(centers, 40, spread=0.05)
    rows = pick_representatives(vectors, vectors[:0], 6)
    assert sorted(numbers[rows].tolist()) == [0, 1, 2, 3, 4, 5]
    covered, _ = clouds(centers[:3], 2, seed=7, spread=0.05)
    assert sorted(numbers[pick_representatives(vectors, covered, 3)].tolist()) == [3, 4, 5]
    assert len(set(pick_representatives(vectors[:4], covered, 10).tolist())) == 4
    assert len(pick_representatives(vectors[:0], covered, 3)) == 0


def test_few_suggestions_are_typical_and_many_are_uncertain() -> None:
    centers = directions(6)
    vectors, numbers = clouds(centers, 40, spread=0.05)
    is_certain = numbers < 3
    probabilities = np.where(is_certain[:, None], (0.9, 0.06, 0.04), (0.4, 0.35, 0.25)).astype(np.float32)
    all_rows, no_rows = np.arange(len(vectors)), np.arange(0)
    assert sorted(numbers[select_informative(vectors, probabilities, all_rows, no_rows, 6)].tolist()) == [0, 1, 2, 3, 4, 5]
    labeled = all_rows[::20]
    unlabeled = np.setdiff1d(all_rows, labeled)
    many = select_informative(vectors, probabilities, unlabeled, labeled, 12)
    assert len(set(many.tolist())) == 12 and not is_certain[many].any() and not set(many.tolist()) & set(labeled.tolist())
    assert len(set(select_informative(vectors, probabilities, unlabeled, labeled, 200).tolist())) == 200
    assert len(select_informative(vectors, probabilities, unlabeled[:4], labeled, 10)) == 4
