"""Which pictures to learn from, which to choose by, and which to be measured on.

Copies of a picture always fall into the same part, so that no measure rewards having seen the answer.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    """How to divide.

    `method` is one of `METHODS`; `validation` and `test` are shares of the pictures, 0 to 1; `by` is one of `GROUPINGS` or ""
    for the one that tells the pictures apart; `hold_out` names artists, sets or characters that are the test part whatever the
    method; `folds` counts the parts of k-fold.
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
            raise UsageError(f"Pictures cannot be grouped by {self.by!r}, only by {', '.join(GROUPINGS)}.")


@dataclass(frozen=True, slots=True)
class DatasetSplit:
    """One division: row numbers, int64, ascending, of each part; they share none and leave none out. `name` says which it is."""

    name: str
    train: Ids
    validation: Ids
    test: Ids


def split(pictures: LabeledImages, plan: SplitPlan) -> list[DatasetSplit]:
    """The divisions that a plan means: one, or one a group or fold. Raises UsageError where the data do not allow it."""
    divisions = METHODS[plan.method](pictures, plan)
    return [_checked(pictures, one) for one in divisions]


def as_table(pictures: LabeledImages, division: DatasetSplit) -> str:
    """A division as CSV: part, emotion, label, artist, set, character, digest, path."""
    rows = dict.fromkeys(division.train.tolist(), TRAIN)
    rows |= dict.fromkeys(division.validation.tolist(), VALIDATION) | dict.fromkeys(division.test.tolist(), TEST)
    out = io.StringIO()
    writer = csv_writer(out)
    writer.writerow(["part", "emotion", "label", "artist", "set", "character", "digest", "path"])
    for row in sorted(rows):
        file = pictures.files[row]
        about = (file.source.artist, file.source.name, file.character, file.digest, file.path)
        writer.writerow([rows[row], file.emotion, file.label, *about])
    return out.getvalue()


def _random(pictures: LabeledImages, plan: SplitPlan) -> list[DatasetSplit]:
    """Every emotion divided by the same shares, by chance."""
    random = np.random.default_rng(plan.seed)

    def shuffled(units: list[int]) -> list[int]:
        mixed: list[int] = random.permutation(units).tolist()
        return mixed

    return [_by_emotion(pictures, plan, shuffled)]


def _contiguous(pictures: LabeledImages, plan: SplitPlan) -> list[DatasetSplit]:
    """The study's: each emotion's files in their order, the first to train on, then validation, the last to test on."""
    return [_by_emotion(pictures, plan, lambda units: units)]


def _by_emotion(pictures: LabeledImages, plan: SplitPlan, order: Callable[[list[int]], list[int]]) -> DatasetSplit:
    units, apart = _units(pictures), _named(pictures, plan)
    part: dict[int, str] = {}
    test = 0.0 if plan.hold_out else plan.test
    for label in range(len(pictures.emotions)):
        rows = np.flatnonzero((pictures.labels == label) & ~apart)
        line = order([unit for unit in dict.fromkeys(units[rows].tolist()) if unit not in part])
        tested, validated = _share(len(line), test), _share(len(line), plan.validation)
        first, second = len(line) - tested - validated, len(line) - tested
        part |= dict.fromkeys(line[:first], TRAIN) | dict.fromkeys(line[first:second], VALIDATION)
        part |= dict.fromkeys(line[second:], TEST)
    return _from_parts(_title(plan), [TEST if apart[row] else part[unit] for row, unit in enumerate(units.tolist())])


def _group(pictures: LabeledImages, plan: SplitPlan) -> list[DatasetSplit]:
    """Whole groups, drawn until the test part has its share; validation is drawn from the rest in the same way."""
    by, groups = _grouped(pictures, plan)
    names = sorted(set(groups.tolist()))
    np.random.default_rng(plan.seed).shuffle(names)
    held: dict[str, str] = {}
    for part, share in ((TEST, 0.0 if plan.hold_out else plan.test), (VALIDATION, plan.validation)):
        wanted = share * len(pictures)
        for name in [name for name in names if name not in held]:
            have = sum(int((groups == other).sum()) for other, where in held.items() if where == part)
            size = int((groups == name).sum())
            if have + size / 2 <= wanted and len(held) < len(names) - 1:
                held[name] = part
    apart = _named(pictures, plan)
    parts = [TEST if apart[row] else held.get(name, TRAIN) for row, name in enumerate(groups.tolist())]
    tested = sorted(name for name, part in held.items() if part == TEST)
    return [_together(pictures, _from_parts(f"{_title(plan)} by {by}: {', '.join(plan.hold_out or tested)}", parts))]


def _leave_one_group_out(pictures: LabeledImages, plan: SplitPlan) -> list[DatasetSplit]:
    """Every group in turn is the test part; validation comes from the others by chance."""
    by, groups = _grouped(pictures, plan)
    divisions = []
    for name in sorted(set(groups.tolist())):
        rest = np.flatnonzero(groups != name)
        inner = _random(_lean(pictures, rest), SplitPlan("random", plan.validation, 0.0, seed=plan.seed))[0]
        parts = np.full(len(pictures), TEST, dtype=object)
        parts[rest[inner.train]], parts[rest[inner.validation]] = TRAIN, VALIDATION
        divisions.append(_together(pictures, _from_parts(f"without {by} {name}", parts.tolist())))
    return divisions


def _k_fold(pictures: LabeledImages, plan: SplitPlan) -> list[DatasetSplit]:
    """Every picture is tested on once; each fold has every emotion in proportion."""
    units, random = _units(pictures), np.random.default_rng(plan.seed)
    fold: dict[int, int] = {}
    for label in range(len(pictures.emotions)):
        own = [unit for unit in dict.fromkeys(units[pictures.labels == label].tolist()) if unit not in fold]
        fold |= {unit: number % plan.folds for number, unit in enumerate(random.permutation(own).tolist())}
    of_row = np.array([fold[unit] for unit in units.tolist()])
    divisions = []
    for number in range(plan.folds):
        rest = np.flatnonzero(of_row != number)
        inner = _random(_lean(pictures, rest), SplitPlan("random", plan.validation, 0.0, seed=plan.seed))[0]
        parts = np.full(len(pictures), TEST, dtype=object)
        parts[rest[inner.train]], parts[rest[inner.validation]] = TRAIN, VALIDATION
        divisions.append(_from_parts(f"fold {number + 1} of {plan.folds}", parts.tolist()))
    return divisions


def _given(pictures: LabeledImages, _plan: SplitPlan) -> list[DatasetSplit]:
    """The division that came with the data."""
    if missing := [file.path for file in pictures.files if not file.part]:
        raise UsageError(
            f"The data say of {len(missing)} pictures not which part they are, {missing[0]} for one; choose a split."
        )
    return [_from_parts("as given", [file.part for file in pictures.files])]


def _none(pictures: LabeledImages, plan: SplitPlan) -> list[DatasetSplit]:
    """Everything to train on, apart from what is held out by name."""
    return [_from_parts(_title(plan), [TEST if out else TRAIN for out in _named(pictures, plan).tolist()])]


METHODS: dict[str, Callable[[LabeledImages, SplitPlan], list[DatasetSplit]]] = {
    "random": _random,
    "contiguous": _contiguous,
    "group": _group,
    "leave-one-group-out": _leave_one_group_out,
    "k-fold": _k_fold,
    "given": _given,
    "none": _none,
}


def _lean(pictures: LabeledImages, rows: Ids) -> LabeledImages:
    """Some of the pictures without their pixels, which dividing does not look at."""
    return LabeledImages(
        pictures.pixels[:0], pictures.labels[rows], tuple(pictures.files[row] for row in rows), pictures.emotions
    )


def _units(pictures: LabeledImages) -> Ids:
    """The row of the first copy of each picture, (N,): rows with the same bytes share it."""
    first: dict[str, int] = {}
    return np.array(
        [first.setdefault(file.digest or str(file.path), row) for row, file in enumerate(pictures.files)], dtype=np.int64
    )


def _named(pictures: LabeledImages, plan: SplitPlan) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which pictures, or copies of such, are held out by name."""
    if not plan.hold_out:
        return np.zeros(len(pictures), dtype=bool)
    units = _units(pictures)
    return np.isin(units, units[held_out(pictures, plan.hold_out)])


def _grouped(pictures: LabeledImages, plan: SplitPlan) -> tuple[str, np.ndarray[tuple[int], np.dtype[np.str_]]]:
    """The grouping in force and each picture's group: the coarsest that tells groups apart, unless the plan says which."""
    for by in (plan.by,) if plan.by else GROUPINGS:
        groups = np.array(pictures.groups(by))
        if len(set(groups.tolist())) > 1:
            return by, groups
    raise UsageError(
        f"The split {plan.method!r} needs pictures of at least two groups; all here are of one {plan.by or 'artist'}."
    )


def _together(pictures: LabeledImages, division: DatasetSplit) -> DatasetSplit:
    """Move copies to where the strictest part has one: test before validation before training."""
    units, rank = _units(pictures), {TRAIN: 0, VALIDATION: 1, TEST: 2}
    strictest: dict[int, str] = {}
    parts = np.full(len(pictures), TRAIN, dtype=object)
    parts[division.validation], parts[division.test] = VALIDATION, TEST
    for unit, part in zip(units.tolist(), parts.tolist(), strict=True):
        strictest[unit] = max(strictest.get(unit, TRAIN), part, key=rank.__getitem__)
    return _from_parts(division.name, [strictest[unit] for unit in units.tolist()])


def _from_parts(name: str, parts: Sequence[str]) -> DatasetSplit:
    told = np.array(parts, dtype=object)
    return DatasetSplit(name, *(np.flatnonzero(told == part).astype(np.int64) for part in (TRAIN, VALIDATION, TEST)))


def _share(count: int, share: float) -> int:
    """A part of so many; at least one where there are three, and never so many that nothing is left to train on."""
    if share == 0 or count < 3:
        return 0
    return min(max(1, round(share * count)), (count - 1) // 2)


def _title(plan: SplitPlan) -> str:
    held = f", held out: {', '.join(plan.hold_out)}" if plan.hold_out else ""
    return f"{plan.method} (seed {plan.seed}){held}" if plan.method in ("random", "group") else f"{plan.method}{held}"


def _checked(pictures: LabeledImages, division: DatasetSplit) -> DatasetSplit:
    if len(np.unique(pictures.labels[division.train])) < 2:
        raise UsageError(f"The split '{division.name}' leaves fewer than two emotions to train on.")
    return division
