"""Splits of a data set into training, validation and test parts.

Exact duplicates are always in the same part, so that the network is not trained on test images. A unit is a group of exact
duplicates; its number is the row of its first image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

import numpy as np

from indexer.domain.errors import UsageError
from indexer.system.csv_format import csv_writer
from models.training.dataset import GROUPINGS, LabeledImages, held_out

if TYPE_CHECKING:
    from indexer.domain.types import Ids

TRAIN, VALIDATION, TEST = "train", "validation", "test"
"""Names of the parts."""

DEFAULT_SHARE = 0.1
"""Share of the images in the validation part, and in the test part."""

DEFAULT_FOLDS = 5


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How to divide a data set.

    - `method`: one of `METHODS`.
    - `validation`, `test`: shares of the images in these parts, 0-1.
    - `by`: one of `GROUPINGS`, or "" for the first one with more than one group.
    - `hold_out`: names of artists, sets or characters whose images are the test part.
    - `folds`: number of folds of k-fold.
    - `seed`: seed of random splits.

    Raises UsageError for an invalid value.
    """

    method: str = "random"
    validation: float = DEFAULT_SHARE
    test: float = DEFAULT_SHARE
    by: str = ""
    hold_out: tuple[str, ...] = ()
    folds: int = DEFAULT_FOLDS
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"There is no split {self.method!r}; choose {', '.join(METHODS)}.")
        if not (self.validation >= 0 and self.test >= 0 and self.validation + self.test < 1):
            raise UsageError("The shares of validation and test must be at least 0 and leave something to train on.")
        if self.folds < 2:
            raise UsageError("k-fold needs at least 2 folds.")
        if self.by not in ("", *GROUPINGS):
            raise UsageError(f"Images cannot be grouped by {self.by!r}, only by {', '.join(GROUPINGS)}.")


@dataclass(frozen=True, slots=True)
class DatasetSplit:
    """A division of a data set into parts.

    `train`, `validation` and `test` are rows, int64, ascending; each row is in one part. `name` describes the division.
    """

    name: str
    train: Ids
    validation: Ids
    test: Ids


def split(images: LabeledImages, plan: SplitPlan) -> list[DatasetSplit]:
    """Divide a data set. Returns one division, or one for each group or fold.

    Raises UsageError if the plan requires groups, parts or names that the data does not have, and if fewer than two emotions are
    left to train on.
    """
    divisions = METHODS[plan.method](images, plan)
    return [_checked(images, division) for division in divisions]


def write_split(images: LabeledImages, division: DatasetSplit, out: TextIO) -> None:
    """Write a division as CSV, one row per image: part, emotion, label, artist, set, character, digest, path."""
    parts = dict.fromkeys(division.train.tolist(), TRAIN)
    parts |= dict.fromkeys(division.validation.tolist(), VALIDATION) | dict.fromkeys(division.test.tolist(), TEST)
    writer = csv_writer(out)
    writer.writerow(["part", "emotion", "label", "artist", "set", "character", "digest", "path"])
    for row in sorted(parts):
        file = images.files[row]
        source = (file.source.artist, file.source.name, file.character, file.digest, file.path)
        writer.writerow([parts[row], file.emotion, file.label, *source])


def _random(images: LabeledImages, plan: SplitPlan) -> list[DatasetSplit]:
    """Divide the images of every emotion by the same shares, at random."""
    random = np.random.default_rng(plan.seed)

    def shuffle(units: list[int]) -> list[int]:
        shuffled: list[int] = random.permutation(units).tolist()
        return shuffled

    return [_by_emotion(images, plan, shuffle)]


def _contiguous(images: LabeledImages, plan: SplitPlan) -> list[DatasetSplit]:
    """Divide the images of every emotion by the same shares, in their order: training, validation, test (as the study did)."""
    return [_by_emotion(images, plan, lambda units: units)]


def _by_emotion(images: LabeledImages, plan: SplitPlan, order: Callable[[list[int]], list[int]]) -> DatasetSplit:
    """Divide the units of every emotion; `order` puts them into the order training, validation, test.

    Images that are held out by name are the test part.
    """
    units, is_held_out = _units(images), _held_out_by_name(images, plan)
    unit_parts: dict[int, str] = {}
    test_share = 0.0 if plan.hold_out else plan.test
    for label in range(len(images.emotions)):
        rows = np.flatnonzero((images.labels == label) & ~is_held_out)
        ordered = order([unit for unit in dict.fromkeys(units[rows].tolist()) if unit not in unit_parts])
        test_size, validation_size = _part_size(len(ordered), test_share), _part_size(len(ordered), plan.validation)
        first, second = len(ordered) - test_size - validation_size, len(ordered) - test_size
        unit_parts |= dict.fromkeys(ordered[:first], TRAIN) | dict.fromkeys(ordered[first:second], VALIDATION)
        unit_parts |= dict.fromkeys(ordered[second:], TEST)
    parts = [TEST if is_held_out[row] else unit_parts[unit] for row, unit in enumerate(units.tolist())]
    return _from_parts(_title(plan), parts)


def _group(images: LabeledImages, plan: SplitPlan) -> list[DatasetSplit]:
    """Draw whole groups for the test part until it has its share, and then for the validation part."""
    by, groups = _grouped(images, plan)
    names = sorted(set(groups.tolist()))
    np.random.default_rng(plan.seed).shuffle(names)
    group_parts: dict[str, str] = {}
    for part, share in ((TEST, 0.0 if plan.hold_out else plan.test), (VALIDATION, plan.validation)):
        wanted_size = share * len(images)
        for name in [name for name in names if name not in group_parts]:
            part_size = sum(int((groups == other).sum()) for other, other_part in group_parts.items() if other_part == part)
            group_size = int((groups == name).sum())
            if part_size + group_size / 2 <= wanted_size and len(group_parts) < len(names) - 1:
                group_parts[name] = part
    is_held_out = _held_out_by_name(images, plan)
    parts = [TEST if is_held_out[row] else group_parts.get(name, TRAIN) for row, name in enumerate(groups.tolist())]
    tested = sorted(name for name, part in group_parts.items() if part == TEST)
    return [_join_duplicates(images, _from_parts(f"{_title(plan)} by {by}: {', '.join(plan.hold_out or tested)}", parts))]


def _leave_one_group_out(images: LabeledImages, plan: SplitPlan) -> list[DatasetSplit]:
    """Use every group in turn as the test part, and draw the validation part from the others."""
    by, groups = _grouped(images, plan)
    divisions = []
    for name in sorted(set(groups.tolist())):
        parts = _parts_with_test(images, groups == name, plan)
        divisions.append(_join_duplicates(images, _from_parts(f"without {by} {name}", parts)))
    return divisions


def _k_fold(images: LabeledImages, plan: SplitPlan) -> list[DatasetSplit]:
    """Use every fold in turn as the test part; each fold has all emotions in proportion."""
    units, random = _units(images), np.random.default_rng(plan.seed)
    unit_folds: dict[int, int] = {}
    for label in range(len(images.emotions)):
        new_units = [unit for unit in dict.fromkeys(units[images.labels == label].tolist()) if unit not in unit_folds]
        unit_folds |= {unit: number % plan.folds for number, unit in enumerate(random.permutation(new_units).tolist())}
    folds = np.array([unit_folds[unit] for unit in units.tolist()])
    return [
        _from_parts(f"fold {number + 1} of {plan.folds}", _parts_with_test(images, folds == number, plan))
        for number in range(plan.folds)
    ]


def _parts_with_test(images: LabeledImages, is_test: np.ndarray[tuple[int], np.dtype[np.bool_]], plan: SplitPlan) -> list[str]:
    """Return the part of each image for a given test part, bool, (N,); the validation part is drawn from the rest."""
    rest = np.flatnonzero(~is_test)
    inner = _random(images.take(rest), SplitPlan("random", plan.validation, 0.0, seed=plan.seed))[0]
    parts = np.full(len(images), TEST, dtype=object)
    parts[rest[inner.train]], parts[rest[inner.validation]] = TRAIN, VALIDATION
    names: list[str] = parts.tolist()
    return names


def _given(images: LabeledImages, _plan: SplitPlan) -> list[DatasetSplit]:
    """Use the parts that the data assigns. Raises UsageError if it assigns none to an image."""
    if missing := [file.path for file in images.files if not file.part]:
        raise UsageError(
            f"The data does not assign {len(missing)} images to a part, for example {missing[0]}; choose another split."
        )
    return [_from_parts("as given", [file.part for file in images.files])]


def _none(images: LabeledImages, plan: SplitPlan) -> list[DatasetSplit]:
    """Train on all images except those that are held out by name."""
    return [_from_parts(_title(plan), [TEST if out else TRAIN for out in _held_out_by_name(images, plan).tolist()])]


METHODS: dict[str, Callable[[LabeledImages, SplitPlan], list[DatasetSplit]]] = {
    "random": _random,
    "contiguous": _contiguous,
    "group": _group,
    "leave-one-group-out": _leave_one_group_out,
    "k-fold": _k_fold,
    "given": _given,
    "none": _none,
}
"""Methods by name."""


def _units(images: LabeledImages) -> Ids:
    """Return the unit of each image: the row of its first duplicate, int64, (N,)."""
    first_rows: dict[str, int] = {}
    return np.array(
        [first_rows.setdefault(file.digest or str(file.path), row) for row, file in enumerate(images.files)], dtype=np.int64
    )


def _held_out_by_name(images: LabeledImages, plan: SplitPlan) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which images are held out by name, or are duplicates of such an image: bool, (N,)."""
    if not plan.hold_out:
        return np.zeros(len(images), dtype=bool)
    units = _units(images)
    return np.isin(units, units[held_out(images, plan.hold_out)])


def _grouped(images: LabeledImages, plan: SplitPlan) -> tuple[str, np.ndarray[tuple[int], np.dtype[np.str_]]]:
    """Return the name of the grouping, and the group of each image, (N,).

    The grouping is that of the plan, or the coarsest with more than one group. Raises UsageError if there is only one group.
    """
    for by in (plan.by,) if plan.by else GROUPINGS:
        groups = np.array(images.groups(by))
        if len(set(groups.tolist())) > 1:
            return by, groups
    raise UsageError(
        f"The split {plan.method!r} needs images of at least two groups; all of these are of one {plan.by or 'artist'}."
    )


def _join_duplicates(images: LabeledImages, division: DatasetSplit) -> DatasetSplit:
    """Move all duplicates of an image to the test part if one is there, or else to the validation part if one is there."""
    units, rank = _units(images), {TRAIN: 0, VALIDATION: 1, TEST: 2}
    unit_parts: dict[int, str] = {}
    parts = np.full(len(images), TRAIN, dtype=object)
    parts[division.validation], parts[division.test] = VALIDATION, TEST
    for unit, part in zip(units.tolist(), parts.tolist(), strict=True):
        unit_parts[unit] = max(unit_parts.get(unit, TRAIN), part, key=rank.__getitem__)
    return _from_parts(division.name, [unit_parts[unit] for unit in units.tolist()])


def _from_parts(name: str, parts: Sequence[str]) -> DatasetSplit:
    """Return the division with the given part of each image."""
    array = np.array(parts, dtype=object)
    return DatasetSplit(name, *(np.flatnonzero(array == part).astype(np.int64) for part in (TRAIN, VALIDATION, TEST)))


def _part_size(count: int, share: float) -> int:
    """Return the size of a part with a share of `count` images.

    It is at least 1 and less than half; it is 0 if the share is 0 or `count` is less than 3.
    """
    if share == 0 or count < 3:
        return 0
    return min(max(1, round(share * count)), (count - 1) // 2)


def _title(plan: SplitPlan) -> str:
    held_out_names = f", held out: {', '.join(plan.hold_out)}" if plan.hold_out else ""
    seed = f" (seed {plan.seed})" if plan.method in ("random", "group") else ""
    return f"{plan.method}{seed}{held_out_names}"


def _checked(images: LabeledImages, division: DatasetSplit) -> DatasetSplit:
    """Return a division. Raises UsageError if its training part has fewer than two emotions."""
    if len(np.unique(images.labels[division.train])) < 2:
        raise UsageError(f"The split '{division.name}' leaves fewer than two emotions to train on.")
    return division
