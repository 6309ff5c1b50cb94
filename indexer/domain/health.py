"""What can be wrong with a data folder: the kinds of findings in words, and what a check-up comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.domain.files import FileStamp


class Severity(StrEnum):
    """A note is worth knowing, and nothing need be done; a problem makes answers wrong or incomplete, or will."""

    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class FindingKind:
    """One thing that can be found: so many of a `noun` that are `like`; `advice` where the user is to do something.

    `mended` says whether a repair changes it, `derived` that the database itself is not touched for it.
    """

    severity: Severity
    noun: str
    like: str
    advice: str = ""
    mended: bool = True
    derived: bool = False


_AGAIN = "index their folders again"

FINDING_KINDS: Mapping[str, FindingKind] = {
    # The file, as SQLite sees it.
    "unreadable": FindingKind(Severity.PROBLEM, "database", "that SQLite cannot read as one"),
    "pages": FindingKind(Severity.PROBLEM, "place", "where the database file is damaged"),
    "indexes": FindingKind(Severity.PROBLEM, "row", "missing from an index of the database, or wrong in it"),
    "references": FindingKind(Severity.PROBLEM, "row", "naming another row that is not there"),
    # What the rows say.
    "files_contradictory": FindingKind(Severity.PROBLEM, "file", "in a state that cannot be, as done without a picture", _AGAIN),
    "pictures_broken": FindingKind(Severity.PROBLEM, "picture", "with a digest that cannot be one, or without a size", _AGAIN),
    "predictions_alone": FindingKind(Severity.PROBLEM, "prediction", "without an embedding", _AGAIN),
    "predictions_broken": FindingKind(
        Severity.PROBLEM, "prediction", "with impossible probabilities or an impossible place", _AGAIN
    ),
    "regions": FindingKind(Severity.PROBLEM, "picture", "of which some faces are missing, or are there beside the whole", _AGAIN),
    "emotions": FindingKind(Severity.PROBLEM, "prediction", "with another emotion or score than probabilities or your label say"),
    "embeddings_broken": FindingKind(
        Severity.PROBLEM, "embedding", "of the wrong size, not of length 1, or not of numbers", _AGAIN
    ),
    "labels_broken": FindingKind(
        Severity.PROBLEM, "label", "without an emotion", mended=False, advice="label that picture again"
    ),
    "models_broken": FindingKind(Severity.PROBLEM, "model", "with a description that cannot be read", _AGAIN),
    "generations": FindingKind(Severity.PROBLEM, "model", "with predictions that its vector index would never learn of"),
    "embeddings_unused": FindingKind(Severity.NOTE, "embedding", "that no prediction needs; they only take space"),
    "pictures_unfiled": FindingKind(
        Severity.NOTE, "picture", "in no known file any more; kept, for the same bytes are never computed twice", mended=False
    ),
    "pictures_unread": FindingKind(
        Severity.NOTE, "picture", "known by a digest or a number alone since a repair; labels are kept", mended=False
    ),
    "runs_died": FindingKind(Severity.NOTE, "run", "killed without saying how far it came; the next goes on from there"),
    # What was made of them.
    "vectors_damaged": FindingKind(
        Severity.PROBLEM, "model", "with a vector index whose bytes are not as they were written", derived=True
    ),
    "vectors_wrong": FindingKind(
        Severity.PROBLEM, "row", "missing from a vector index, or not there as in the database", derived=True
    ),
    "vectors_behind": FindingKind(
        Severity.NOTE, "model", "with a vector index behind the database, which answers for the rest", derived=True
    ),
    # Files.
    "temporaries": FindingKind(Severity.NOTE, "file", "left over by a program that was killed", derived=True),
    "files_missing": FindingKind(
        Severity.NOTE, "file", "not in place any more", "index the folder, and it is noticed", mended=False
    ),
    "files_changed": FindingKind(
        Severity.NOTE, "file", "changed since indexing", "index the folder, and it is looked at", mended=False
    ),
    "files_unreadable": FindingKind(Severity.NOTE, "file", "that cannot be read now", "see to its permissions", mended=False),
    "files_rotten": FindingKind(
        Severity.PROBLEM,
        "file",
        "with other bytes than were indexed, though size and time are the same: the disk may be failing",
        "compare with a copy of yours; the next index reads it anew",
    ),
    # Models.
    "weights_gone": FindingKind(
        Severity.NOTE,
        "model",
        "with predictions, but without a file; searches by name still find them",
        "moodex models add FILE brings it back",
        mended=False,
    ),
    "weights_changed": FindingKind(
        Severity.PROBLEM,
        "model",
        "with other weights than on the card",
        "moodex models add FILE --force, or moodex models remove NAME",
        mended=False,
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something found: `kind` is one of `FINDING_KINDS`, `count` how many there are, `example` one of them."""

    kind: str
    count: int = 1
    example: str = ""

    @property
    def about(self) -> FindingKind:
        """What is known of such findings."""
        return FINDING_KINDS[self.kind]


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file as the database knows it: done, with a stamp, and the digest of the bytes that were read."""

    id: int
    path: bytes
    stamp: FileStamp
    digest: bytes


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check-up came to. `rows` counts what was looked at, by name."""

    findings: tuple[Finding, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The findings that are no mere notes."""
        return tuple(one for one in self.findings if one.about.severity is Severity.PROBLEM)

    def of(self, *kinds: str) -> bool:
        """Whether any finding is of one of these kinds."""
        return any(one.kind in kinds for one in self.findings)


@dataclass(frozen=True, slots=True)
class Repair:
    """What a repair did: the copy of the database from before it (None where the database was not touched), whether that had to
    be written anew, with how many rows of each table that could be read, and what is still found after it.
    """

    saved: Path | None
    recovered: Mapping[str, int] | None
    after: CheckReport


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """What `moodex doctor` did: what was found and, where one was wanted, the repair."""

    home: Path
    found: CheckReport
    repair: Repair | None = None

    @property
    def exit_code(self) -> int:
        """0 where no problem is left, else 5."""
        return 5 if (self.found if self.repair is None else self.repair.after).problems else 0


@dataclass(frozen=True, slots=True)
class BackupReport:
    """A backup: the file, how many bytes it has, the rows of each table and the files of models in it."""

    path: Path
    bytes: int
    rows: Mapping[str, int]
    models: int


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What was restored to a data folder: a backup made at a time, its rows and models' files, and what is `kept` from before."""

    home: Path
    created: str
    rows: Mapping[str, int]
    models: int
    kept: tuple[Path, ...]
