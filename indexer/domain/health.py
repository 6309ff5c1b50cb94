"""Results of the health check: kinds of findings, and the reports of check, repair, backup and restore."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Severity(StrEnum):
    """A note needs no action. A problem makes results wrong or incomplete, now or later."""

    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class FindingKind:
    """A kind of finding, printed as a count of `noun` followed by `like`.

    `advice` says what the user should do, if anything. `repairable` is True if a repair fixes it, and `derived` if that repair
    does not touch the database itself.
    """

    severity: Severity
    noun: str
    like: str
    advice: str = ""
    repairable: bool = True
    derived: bool = False


_AGAIN = "index their folders again"

FINDING_KINDS: Mapping[str, FindingKind] = {
    # The database file.
    "unreadable": FindingKind(Severity.PROBLEM, "database", "that SQLite cannot read"),
    "pages": FindingKind(Severity.PROBLEM, "damaged place", "in the database file"),
    "indexes": FindingKind(Severity.PROBLEM, "row", "missing from a database index, or wrong in it"),
    "references": FindingKind(Severity.PROBLEM, "row", "that refers to a missing row"),
    # The rows.
    "files_contradictory": FindingKind(Severity.PROBLEM, "file", "in an impossible state, such as done without an image", _AGAIN),
    "pictures_broken": FindingKind(Severity.PROBLEM, "image", "with an invalid digest or without a size", _AGAIN),
    "predictions_alone": FindingKind(Severity.PROBLEM, "prediction", "without an embedding", _AGAIN),
    "predictions_broken": FindingKind(
        Severity.PROBLEM, "prediction", "with impossible probabilities or an impossible box", _AGAIN
    ),
    "predictions_misplaced": FindingKind(
        Severity.PROBLEM, "prediction", "that searches would show in the wrong place among those with an equal score"
    ),
    "regions": FindingKind(Severity.PROBLEM, "image", "with missing faces, or with both faces and a whole image", _AGAIN),
    "emotions": FindingKind(
        Severity.PROBLEM, "prediction", "with an emotion or score that contradicts its probabilities or your label"
    ),
    "embeddings_broken": FindingKind(
        Severity.PROBLEM, "embedding", "of the wrong size, not of length 1, or with values that are not numbers", _AGAIN
    ),
    "labels_broken": FindingKind(
        Severity.PROBLEM, "label", "without an emotion", repairable=False, advice="label that image again"
    ),
    "models_broken": FindingKind(Severity.PROBLEM, "model", "with a description that cannot be read", _AGAIN),
    "generations": FindingKind(Severity.PROBLEM, "model", "with predictions that its vector index would never include"),
    "embeddings_unused": FindingKind(Severity.NOTE, "embedding", "that no prediction needs; they only take space"),
    "pictures_unfiled": FindingKind(
        Severity.NOTE, "image", "without a file; kept, so that the same bytes are never analyzed twice", repairable=False
    ),
    "pictures_unread": FindingKind(
        Severity.NOTE, "image", "with only a digest or a number since a repair; labels are kept", repairable=False
    ),
    "runs_died": FindingKind(Severity.NOTE, "run", "killed before it recorded its outcome; the next run resumes"),
    # Derived data.
    "vectors_damaged": FindingKind(Severity.PROBLEM, "model", "with a damaged vector index", derived=True),
    "vectors_wrong": FindingKind(
        Severity.PROBLEM, "row", "missing from a vector index, or different in the database", derived=True
    ),
    "vectors_behind": FindingKind(
        Severity.NOTE, "model", "with an outdated vector index; searches read the rest from the database", derived=True
    ),
    # Files.
    "temporaries": FindingKind(Severity.NOTE, "temporary file", "left behind by a killed process", derived=True),
    "files_missing": FindingKind(Severity.NOTE, "file", "missing on disk", "index the folder again", repairable=False),
    "files_changed": FindingKind(Severity.NOTE, "file", "changed since indexing", "index the folder again", repairable=False),
    "files_unreadable": FindingKind(Severity.NOTE, "file", "that cannot be read", "check its permissions", repairable=False),
    "files_rotten": FindingKind(
        Severity.PROBLEM,
        "file",
        "with other bytes than when indexed, though the file system noted no change: its disk may be damaged",
        "compare with your own backup; moodex index --verify reads all files again",
    ),
    # Models.
    "weights_gone": FindingKind(
        Severity.NOTE,
        "model",
        "with predictions but without a weights file; searches with --model still work",
        "install it again: moodex models add FILE",
        repairable=False,
    ),
    "weights_changed": FindingKind(
        Severity.PROBLEM,
        "model",
        "whose weights do not match its card",
        "moodex models add FILE --force, or moodex models remove NAME",
        repairable=False,
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding of the check: `kind` is a key of `FINDING_KINDS`, `example` is one of `count`."""

    kind: str
    count: int = 1
    example: str = ""

    @property
    def about(self) -> FindingKind:
        """The description of this kind."""
        return FINDING_KINDS[self.kind]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The result of a check. `rows` are the checked rows by table."""

    findings: tuple[Finding, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The findings that are problems, not notes."""
        return tuple(finding for finding in self.findings if finding.about.severity is Severity.PROBLEM)

    def of(self, *kinds: str) -> bool:
        """Return whether any finding is of one of these kinds."""
        return any(finding.kind in kinds for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Repair:
    """The result of a repair.

    - `saved`: the copy of the database from before the repair; None if the database was not touched.
    - `recovered`: the salvaged rows of each table; None if the database did not have to be rebuilt.
    - `after`: the check after the repair.
    """

    saved: Path | None
    recovered: Mapping[str, int] | None
    after: CheckReport


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """The result of `moodex doctor`: the check and, if requested, the repair."""

    home: Path
    found: CheckReport
    repair: Repair | None = None

    @property
    def exit_code(self) -> int:
        """0 if no problem is left, else 5."""
        return 5 if (self.found if self.repair is None else self.repair.after).problems else 0


@dataclass(frozen=True, slots=True)
class BackupReport:
    """A backup: its file and size, the rows of each table, the number of model files."""

    path: Path
    bytes: int
    rows: Mapping[str, int]
    models: int


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """A restored backup: when it was `created`, its rows, the number of model files.

    `kept` are the paths of the replaced database and models.
    """

    home: Path
    created: str
    rows: Mapping[str, int]
    models: int
    kept: tuple[Path, ...]
