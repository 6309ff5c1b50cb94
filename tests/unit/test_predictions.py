"""The emotion of a region in searches: the user's label, else the model's most probable emotion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.domain.predictions import effective_emotion, effective_emotions

LABELS = ("happy", "sad", "angry")
probabilities = st.lists(st.floats(0, 1.0625, width=32), min_size=3, max_size=3)
user_labels = st.none() | st.sampled_from([*LABELS, "smug"])


def test_a_user_label_overrides_the_model() -> None:
    assert effective_emotion(LABELS, (0.1, 0.2, 0.7), "sad") == ("sad", 1.0)
    assert effective_emotion(LABELS, (0.1, 0.2, 0.7), "smug") == ("smug", 1.0)


@pytest.mark.parametrize(
    ("given", "expected"), [((0.1, 0.2, 0.7), ("angry", 0.7)), ((0.5, 0.5, 0.0), ("happy", 0.5)), ((0, 1.0001, 0), ("sad", 1.0))]
)
def test_without_a_label_the_most_probable_emotion_counts(given: tuple[float, ...], expected: tuple[str, float]) -> None:
    assert effective_emotion(LABELS, given, None) == expected


@given(st.lists(st.tuples(probabilities, user_labels), max_size=8))
def test_many_regions_get_the_same_emotions_as_each_alone(rows: list[tuple[list[float], str | None]]) -> None:
    numbers = np.array([row for row, _ in rows], dtype=np.float32).reshape(len(rows), 3)
    expected = [effective_emotion(LABELS, row, label) for row, (_, label) in zip(numbers.tolist(), rows, strict=True)]
    assert effective_emotions(LABELS, numbers, [label for _, label in rows]) == expected
