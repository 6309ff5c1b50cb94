from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.domain.errors import UsageError
from models.training.dataset import LabeledImages
from models.training.dataset_readers import Source, SourceImage
from models.training.image_cache import ImageRows
from models.training.splits import DatasetSplit, SplitPlan, split, write_split

EMOTIONS = ("happy", "sad", "angry")


def images(rows: Sequence[tuple[str, str, str]]) -> LabeledImages:
    """Return images of (emotion, artist, digest), all white."""
    files = tuple(
        SourceImage(Path(f"{number:03}.png"), emotion, emotion, Source(f"set-{artist}", Path(artist), artist), digest=digest)
        for number, (emotion, artist, digest) in enumerate(rows)
    )
    labels = np.array([EMOTIONS.index(emotion) for emotion, _, _ in rows], dtype=np.int64)
    white = np.broadcast_to(np.uint8(255), (len(rows), 8, 8, 3))
    return LabeledImages(ImageRows(white), labels, files, EMOTIONS)


def balanced_images(count: int = 120, artists: int = 6) -> LabeledImages:
    return images([(EMOTIONS[n % 3], f"artist{n // 3 % artists}", f"digest{n}") for n in range(count)])


def all_rows(division: DatasetSplit) -> list[int]:
    return sorted([*division.train.tolist(), *division.validation.tolist(), *division.test.tolist()])


@given(
    rows=st.lists(
        st.tuples(st.sampled_from(EMOTIONS), st.sampled_from("abcd"), st.integers(0, 30).map(str)), min_size=8, max_size=60
    ),
    method=st.sampled_from(["random", "contiguous", "group", "leave-one-group-out", "k-fold"]),
    seed=st.integers(0, 5),
)
def test_parts_are_disjoint_and_complete_and_keep_duplicates(rows: list[tuple[str, str, str]], method: str, seed: int) -> None:
    data = images(rows)
    try:
        divisions = split(data, SplitPlan(method, 0.2, 0.2, folds=3, seed=seed))
    except UsageError:
        return  # too few groups or emotions
    for division in divisions:
        assert all_rows(division) == list(range(len(data)))
        parts_by_digest: dict[str, set[str]] = {}
        for name in ("train", "validation", "test"):
            for row in getattr(division, name).tolist():
                parts_by_digest.setdefault(data.files[row].digest, set()).add(name)
        assert all(len(parts) == 1 for parts in parts_by_digest.values())


def test_a_random_split_keeps_the_share_of_every_emotion_and_depends_on_the_seed() -> None:
    data = balanced_images(300)
    first, again = (split(data, SplitPlan("random", 0.1, 0.2, seed=4))[0] for _ in range(2))
    assert np.array_equal(first.test, again.test)
    assert not np.array_equal(first.test, split(data, SplitPlan("random", 0.1, 0.2, seed=5))[0].test)
    for rows, share in ((first.train, 0.7), (first.validation, 0.1), (first.test, 0.2)):
        assert np.bincount(data.labels[rows]).tolist() == [round(share * 100)] * 3


def test_a_contiguous_split_takes_blocks_in_order() -> None:
    data = balanced_images(30)
    division = split(data, SplitPlan("contiguous", 0.2, 0.2))[0]
    for label in range(3):
        rows = np.flatnonzero(data.labels == label)
        assert np.isin(rows[:6], division.train).all()
        assert np.isin(rows[6:8], division.validation).all() and np.isin(rows[8:], division.test).all()


def test_a_group_split_keeps_groups_together() -> None:
    data = balanced_images()
    division = split(data, SplitPlan("group", 0.2, 0.3))[0]
    artists = np.array(data.artists)
    parts = [set(artists[rows]) for rows in (division.train, division.validation, division.test)]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert all(parts) and len(parts[2]) == 2
    assert "by artist" in division.name


def test_leave_one_group_out_tests_on_each_group_once() -> None:
    data = balanced_images()
    divisions = split(data, SplitPlan("leave-one-group-out", 0.1))
    assert [set(np.array(data.artists)[division.test]) for division in divisions] == [{f"artist{n}"} for n in range(6)]
    assert all(len(division.validation) == pytest.approx(10, abs=3) for division in divisions)


def test_k_fold_tests_each_image_once() -> None:
    data = balanced_images()
    divisions = split(data, SplitPlan("k-fold", 0.1, folds=4))
    assert sorted(np.concatenate([division.test for division in divisions]).tolist()) == list(range(120))
    assert all(np.bincount(data.labels[division.test]).tolist() == [10, 10, 10] for division in divisions)


def test_held_out_images_and_duplicates_are_the_test_part() -> None:
    rows = [(EMOTIONS[n % 3], "anna" if n < 30 else "ben", f"{n}") for n in range(60)]
    data = images([*rows, ("happy", "ben", "3")])
    division = split(data, SplitPlan("random", 0.1, 0.3, hold_out=("anna",)))[0]
    assert division.test.tolist() == [*range(30), 60]
    assert len(split(data, SplitPlan("none", hold_out=("set-ben",)))[0].train) == 29
    with pytest.raises(UsageError, match="'picasso'"):
        split(data, SplitPlan("none", hold_out=("picasso",)))


def test_a_given_split_needs_a_part_for_every_image() -> None:
    data = balanced_images(9)
    with pytest.raises(UsageError, match="does not assign 9 images to a part"):
        split(data, SplitPlan("given"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"method": "magic"}, "There is no split 'magic'"),
        ({"validation": 0.6, "test": 0.5}, "leave something to train on"),
        ({"by": "color"}, "cannot be grouped by 'color'"),
        ({"folds": 1}, "at least 2 folds"),
    ],
)
def test_an_invalid_plan_is_an_error(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        SplitPlan(**change)  # type: ignore[arg-type]


def test_a_split_needs_two_groups_and_two_emotions() -> None:
    with pytest.raises(UsageError, match="at least two groups"):
        split(balanced_images(artists=1), SplitPlan("group"))
    with pytest.raises(UsageError, match="fewer than two emotions to train on"):
        split(images([("happy", "a", "1"), ("happy", "a", "2"), ("sad", "b", "3")]), SplitPlan("leave-one-group-out"))


def test_a_split_table_has_every_image() -> None:
    data = balanced_images(30)
    division = split(data, SplitPlan("random", 0.2, 0.2))[0]
    table = io.StringIO()
    write_split(data, division, table)
    rows = list(csv.DictReader(io.StringIO(table.getvalue())))
    assert len(rows) == 30
    assert [row["path"] for row in rows if row["part"] == "test"] == [f"{row:03}.png" for row in division.test]
    assert rows[4]["digest"] == "digest4" and rows[4]["artist"] == "artist1"
