"""Splits of a data set into training, validation and test parts.

Exact duplicates are always in the same part, so that no test image was trained on.
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
DEFAULT_SHARE, DEFAULT_FOLDS = 0.1, 5


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How to divide a data set.

    - `method`: one of `METHODS`.
    - `validation`, `test`: shares of the images, 0 to 1.
    - `by`: one of `GROUPINGS`, or "" for the first with more than one group.
    - `hold_out`: artists, sets or characters that are the test part with every method.
    - `folds`: number of folds of k-fold.
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
    """One division: the rows of each part, int64, ascending, disjoint and complete, and a `name`."""

    name: str
    train: Ids
    validation: Ids
    test: Ids


def split(images: LabeledImages, plan: SplitPlan) -> list[DatasetSplit]:
    """Divide a data set: one division, or one per group or fold. Raises UsageError if the data does not allow it."""
    divisions = METHODS[plan.method](images, plan)
    return [_checked(images, one) for one in divisions]


def write_split(images: LabeledImages, division: DatasetSplit, out: TextIO) -> None:
    """Write a division as CSV, one row per image: part, emotion, label, artist, set, character, digest, path."""
    rows = dict.fromkeys(division.train.tolist(), TRAIN)
    rows |= dict.fromkeys(division.validation.tolist(), VALIDATION) | dict.fromkeys(division.test.tolist(), TEST)
    writer = csv_writer(out)
    writer.writerow(["part", "emotion", "label", "artist", "set", "character", "digest", "path"])
    for row in sorted(rows):
        file = images.files[row]
        about = (file.source.artist, file.source.name, file.character, file.digest, file.path)
        writer.writerow([rows[row], file.emotion, file.label, *about])


def _random(images: LabeledImages, plan: SplitPlan) -> list[DatasetSplit]:
    """Divide every emotion by the same shares, at random."""
    random = np.random.default_rng(plan.seed)

    def shuffled(units: list[int]) -> list[int]:
        mixed: list[int] = random.permutation(units).tolist()
        return mixed

    return [_by_emotion(images, plan, shuffled)]


def _contiguous(images: LabeledImages, plan: SplitPlan) -> list[DatasetSplit]:
    """Divide the files of each emotion in order, as the study does: training, validation, test."""
    return [_by_emotion(images, plan, lambda units: units)]


def _by_emotion(images: LabeledImages, plan: SplitPlan, order: Callable[[list[int]], list[int]]) -> DatasetSplit:
    units, apart = _units(images), _named(images, plan)
    part: dict[int, str] = {}
    test = 0.0 if plan.hold_out else plan.test
    for label in range(len(images.emotions)):
        rows = np.flatnonzero((images.labels == label) & ~apart)
        line = order([unit for unit in dict.fromkeys(units[rows].tolist()) if unit not in part])
        tested, validated = _share(len(line), test), _share(len(line), plan.validation)
        first, second = len(line) - tested - validated, len(line) - tested
        part |= dict.fromkeys(line[:first], TRAIN) | dict.fromkeys(line[first:second], VALIDATION)
        part |= dict.fromkeys(line[second:], TEST)
    return _from_parts(_title(plan), [TEST if apart[row] else part[unit] for row, unit in enumerate(units.tolist())])


def _group(images: LabeledImages, plan: SplitPlan) -> list[DatasetSplit]:
    """Draw whole groups until the test part has its share; then the validation part from the rest."""
    by, groups = _grouped(images, plan)
    names = sorted(set(groups.tolist()))
    np.random.default_rng(plan.seed).shuffle(names)
    held: dict[str, str] = {}
    for part, share in ((TEST, 0.0 if plan.hold_out else plan.test), (VALIDATION, plan.validation)):
        wanted = share * len(images)
        for name in [name for name in names if name not in held]:
            have = sum(int((groups == other).sum()) for other, where in held.items() if where == part)
            size = int((groups == name).sum())
            if have + size / 2 <= wanted and len(held) < len(names) - 1:
                held[name] = part
    apart = _named(images, plan)
    parts = [TEST if apart[row] else held.get(name, TRAIN) for row, name in enumerate(groups.tolist())]
    tested = sorted(name for name, part in held.items() if part == TEST)
    return [_together(images, _from_parts(f"{_title(plan)} by {by}: {', '.join(plan.hold_out or tested)}", parts))]


def _leave_one_group_out(images: LabeledImages, plan: SplitPlan) -> list[DatasetSplit]:
    """Use every group in turn as the test part; draw the validation part from the others."""
    by, groups = _grouped(images, plan)
    divisions = []
    for name in sorted(set(groups.tolist())):
        rest = np.flatnonzero(groups != name)
        inner = _random(images.take(rest), SplitPlan("random", plan.validation, 0.0, seed=plan.seed))[0]
        parts = np.full(len(images), TEST, dtype=object)
        parts[rest[inner.train]], parts[rest[inner.validation]] = TRAIN, VALIDATION
        divisions.append(_together(images, _from_parts(f"without {by} {name}", parts.tolist())))
    return divisions


def _k_fold(images: LabeledImages, plan: SplitPlan) -> list[DatasetSplit]:
    """Test every image once; each fold has all emotions in proportion."""
    units, random = _units(images), np.random.default_rng(plan.seed)
    fold: dict[int, int] = {}
    for label in range(len(images.emotions)):
        own = [unit for unit in dict.fromkeys(units[images.labels == label].tolist()) if unit not in fold]
        fold |= {unit: number % plan.folds for number, unit in enumerate(random.permutation(own).tolist())}
    of_row = np.array([fold[unit] for unit in units.tolist()])
    divisions = []
    for number in range(plan.folds):
        rest = np.flatnonzero(of_row != number)
        inner = _random(images.take(rest), SplitPlan("random", plan.validation, 0.0, seed=plan.seed))[0]
        parts = np.full(len(images), TEST, dtype=object)
        parts[rest[inner.train]], parts[rest[inner.validation]] = TRAIN, VALIDATION
        divisions.append(_from_parts(f"fold {number + 1} of {plan.folds}", parts.tolist()))
    return divisions


def _given(images: LabeledImages, _plan: SplitPlan) -> list[DatasetSplit]:
    """Use the division of the data."""
    if missing := [file.path for file in images.files if not file.part]:
        raise UsageError(
            f"The data does not assign {len(missing)} images to a part, for example {missing[0]}; choose another split."
        )
    return [_from_parts("as given", [file.part for file in images.files])]


def _none(images: LabeledImages, plan: SplitPlan) -> list[DatasetSplit]:
    """Train on everything except what is held out by name."""
    return [_from_parts(_title(plan), [TEST if out else TRAIN for out in _named(images, plan).tolist()])]


METHODS: dict[str, Callable[[LabeledImages, SplitPlan], list[DatasetSplit]]] = {
    "random": _random,
    "contiguous": _contiguous,
    "group": _group,
    "leave-one-group-out": _leave_one_group_out,
    "k-fold": _k_fold,
    "given": _given,
    "none": _none,
}


def _units(images: LabeledImages) -> Ids:
    """Return the row of the first duplicate of each image, (N,)."""
    first: dict[str, int] = {}
    return np.array(
        [first.setdefault(file.digest or str(file.path), row) for row, file in enumerate(images.files)], dtype=np.int64
    )


def _named(images: LabeledImages, plan: SplitPlan) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which images are held out by name, or are duplicates of such: bool, (N,)."""
    if not plan.hold_out:
        return np.zeros(len(images), dtype=bool)
    units = _units(images)
    return np.isin(units, units[held_out(images, plan.hold_out)])


def _grouped(images: LabeledImages, plan: SplitPlan) -> tuple[str, np.ndarray[tuple[int], np.dtype[np.str_]]]:
    """Return the grouping and the group of each image: that of the plan, or the coarsest with more than one group."""
    for by in (plan.by,) if plan.by else GROUPINGS:
        groups = np.array(images.groups(by))
        if len(set(groups.tolist())) > 1:
            return by, groups
    raise UsageError(
        f"The split {plan.method!r} needs images of at least two groups; all of these are of one {plan.by or 'artist'}."
    )


def _together(images: LabeledImages, division: DatasetSplit) -> DatasetSplit:
    """Move duplicates to one part: test before validation before training."""
    units, rank = _units(images), {TRAIN: 0, VALIDATION: 1, TEST: 2}
    strictest: dict[int, str] = {}
    parts = np.full(len(images), TRAIN, dtype=object)
    parts[division.validation], parts[division.test] = VALIDATION, TEST
    for unit, part in zip(units.tolist(), parts.tolist(), strict=True):
        strictest[unit] = max(strictest.get(unit, TRAIN), part, key=rank.__getitem__)
    return _from_parts(division.name, [strictest[unit] for unit in units.tolist()])


def _from_parts(name: str, parts: Sequence[str]) -> DatasetSplit:
    names = np.array(parts, dtype=object)
    return DatasetSplit(name, *(np.flatnonzero(names == part).astype(np.int64) for part in (TRAIN, VALIDATION, TEST)))


def _share(count: int, share: float) -> int:
    """Return the size of a part of `count` images: at least 1 of 3 or more, and less than half."""
    if share == 0 or count < 3:
        return 0
    return min(max(1, round(share * count)), (count - 1) // 2)


def _title(plan: SplitPlan) -> str:
    held = f", held out: {', '.join(plan.hold_out)}" if plan.hold_out else ""
    return f"{plan.method} (seed {plan.seed}){held}" if plan.method in ("random", "group") else f"{plan.method}{held}"


def _checked(images: LabeledImages, division: DatasetSplit) -> DatasetSplit:
    if len(np.unique(images.labels[division.train])) < 2:
        raise UsageError(f"The split '{division.name}' leaves fewer than two emotions to train on.")
    return division
