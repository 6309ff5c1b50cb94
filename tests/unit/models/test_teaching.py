"""Teaching a last layer: it learns what it is told, forgets nothing else, and stays where it is not clearly better."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from indexer.domain.errors import Interrupted, UsageError
from models.clustering import pick_representatives
from models.teaching.fit import one_hot, teach
from models.teaching.linear_head import Examples, Head, RefitSettings, refit
from models.teaching.select import select_informative

SIZE = 16
LABELS = ("happy", "sad", "angry")


def clouds(centers: np.ndarray, each: int, seed: int = 0, spread: float = 0.08) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around unit vectors, `each` around one of them, and whose they are."""
    random = np.random.default_rng(seed)
    numbers = np.repeat(np.arange(len(centers)), each)
    vectors = centers[numbers] + random.normal(size=(len(numbers), centers.shape[1])) * spread
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), numbers


def directions(count: int, seed: int = 1) -> np.ndarray:
    square = np.linalg.qr(np.random.default_rng(seed).normal(size=(SIZE, SIZE)))[0]
    return square[:count]


OLD_STYLE, NEW_STYLE = directions(3), directions(6)[3:]


def old_head() -> tuple[Head, Examples]:
    """A head that knows the old style by heart and nothing of the new one, and what it remembers."""
    vectors, numbers = clouds(OLD_STYLE, 30)
    remembered = Examples(torch.from_numpy(vectors), one_hot(numbers, 3))
    return Head(LABELS, torch.from_numpy(OLD_STYLE * 16).float(), torch.zeros(3)), remembered


def says(head: Head, vectors: np.ndarray) -> list[str]:
    return [head.labels[best] for best in head.logits(vectors).argmax(axis=1)]


def right(head: Head, style: np.ndarray, seed: int = 9) -> float:
    vectors, numbers = clouds(style, 50, seed)
    return float(np.mean([said == LABELS[number] for said, number in zip(says(head, vectors), numbers, strict=True)]))


def never() -> None:
    """Nobody asks to stop."""


def test_a_new_style_is_learned_and_the_old_one_kept() -> None:
    head, remembered = old_head()
    vectors, numbers = clouds(NEW_STYLE, 5, seed=3)
    labels = [LABELS[number] for number in numbers]
    assert right(head, NEW_STYLE) < 0.7
    taught = teach(head, [vectors], labels, remembered, says(head, vectors), never)
    assert taught.head is not None and taught.after > taught.before and taught.tested == 15
    assert right(taught.head, NEW_STYLE) > 0.95
    assert right(taught.head, OLD_STYLE) > 0.95


def test_an_emotion_of_ones_own_is_learned() -> None:
    head, remembered = old_head()
    vectors, numbers = clouds(np.concatenate([OLD_STYLE[:2], NEW_STYLE[:1]]), 6, seed=4)
    labels = [("happy", "sad", "smug")[number] for number in numbers]
    taught = teach(head, [vectors], labels, remembered, says(head, vectors), never)
    assert taught.head is not None and taught.head.labels == (*LABELS, "smug")
    smug, _ = clouds(NEW_STYLE[:1], 20, seed=5)
    assert says(taught.head, smug) == ["smug"] * 20
    np.testing.assert_allclose(taught.head.probabilities(smug).sum(axis=1), 1, atol=1e-5)
    assert right(taught.head, OLD_STYLE) > 0.95


def test_labels_that_teach_nothing_leave_the_head_alone() -> None:
    head, remembered = old_head()
    vectors, numbers = clouds(OLD_STYLE, 8, seed=6)
    known = teach(head, [vectors], [LABELS[number] for number in numbers], remembered, says(head, vectors), never)
    assert known.head is None and known.before == 1.0
    random = np.random.default_rng(0)
    noise = teach(head, [vectors], random.choice(LABELS, len(vectors)).tolist(), remembered, says(head, vectors), never)
    assert noise.head is None


def test_labels_thrown_by_chance_are_not_learned() -> None:
    """A model that guesses among emotions that nobody labeled is no measure: what were learned is which labels there are."""
    head, remembered = old_head()
    vectors, _ = clouds(directions(9, seed=8)[6:], 12, seed=7)
    accepted = 0
    for seed in range(10):
        labels = np.random.default_rng(seed).choice(LABELS[:2], len(vectors)).tolist()
        accepted += teach(head, [vectors], labels, remembered, ["angry"] * len(labels), never).head is not None
    assert accepted <= 1


def test_one_emotion_alone_cannot_be_tested() -> None:
    head, remembered = old_head()
    vectors, _ = clouds(NEW_STYLE, 4, seed=3)
    with pytest.raises(UsageError, match="at least two emotions need two images"):
        teach(head, [vectors[:5]], ["sad"] * 4 + ["happy"], remembered, ["happy"] * 5, never)


def test_a_stop_request_interrupts_teaching() -> None:
    head, remembered = old_head()
    vectors, numbers = clouds(NEW_STYLE, 5, seed=3)
    asked = 0

    def stop() -> None:
        nonlocal asked
        asked += 1
        if asked > 3:
            raise Interrupted("Stopped.", 2)

    with pytest.raises(Interrupted):
        teach(head, [vectors], [LABELS[number] for number in numbers], remembered, says(head, vectors), stop)
    assert asked == 4


def test_teaching_twice_is_the_same() -> None:
    head, remembered = old_head()
    vectors, numbers = clouds(NEW_STYLE, 5, seed=3)
    labels = [LABELS[number] for number in numbers]
    first, second = (teach(head, [vectors], labels, remembered, says(head, vectors), never) for _ in range(2))
    assert first.head is not None and second.head is not None
    assert torch.equal(first.head.matrix, second.head.matrix) and torch.equal(first.head.bias, second.head.bias)


def test_duplicates_of_one_image_are_not_evidence() -> None:
    head, remembered = old_head()
    vectors, _ = clouds(NEW_STYLE[:2], 1)
    with pytest.raises(UsageError, match="not near-duplicates"):
        teach(head, [np.repeat(vectors, 5, axis=0)], ["happy"] * 5 + ["sad"] * 5, remembered, ["sad"] * 10, never)


def test_a_strong_anchor_holds_the_head() -> None:
    head, remembered = old_head()
    vectors, numbers = clouds(NEW_STYLE, 5)
    new = Examples(torch.from_numpy(vectors), one_hot(numbers, 3))
    held, free = (refit(head, new, remembered, RefitSettings(0.9, anchor)) for anchor in (1e6, 1e-4))
    assert torch.allclose(held.matrix, head.matrix, atol=1e-3)
    assert not torch.allclose(free.matrix, head.matrix, atol=1e-1)


def test_representatives_are_one_of_each_unlabeled_group() -> None:
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
    sure = numbers < 3
    probabilities = np.where(sure[:, None], (0.9, 0.06, 0.04), (0.4, 0.35, 0.25)).astype(np.float32)
    everything, nothing = np.arange(len(vectors)), np.arange(0)
    assert sorted(numbers[select_informative(vectors, probabilities, everything, nothing, 6)].tolist()) == [0, 1, 2, 3, 4, 5]
    known = everything[::20]
    free = np.setdiff1d(everything, known)
    many = select_informative(vectors, probabilities, free, known, 12)
    assert len(set(many.tolist())) == 12 and not sure[many].any() and not set(many.tolist()) & set(known.tolist())
    assert len(set(select_informative(vectors, probabilities, free, known, 200).tolist())) == 200
    assert len(select_informative(vectors, probabilities, free[:4], known, 10)) == 4
