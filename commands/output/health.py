"""What a check-up found and a repair did, for people and programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TextIO

from indexer.system.text import pluralize, printable

if TYPE_CHECKING:
    from indexer.domain.health import CheckReport, DoctorReport, Finding

_MENDED = "moodex doctor --repair"
_OF_SQLITE = ("unreadable", "pages", "indexes", "references")
"""Findings whose example is what SQLite says."""


def write_doctored(doctored: DoctorReport, as_json: bool, out: TextIO) -> None:
    """Write a line for each finding, mended or left, then how it stands."""
    if as_json:
        out.write(json.dumps(_as_dict(doctored), indent=2) + "\n")
        return
    repair, found = doctored.repair, doctored.found
    last = found if repair is None else repair.after
    left = {finding.kind for finding in last.findings}
    for finding in found.findings:
        if finding.kind in left:
            out.write(f"{_line(finding)}\n")
        else:
            again = f"; {finding.about.advice}" if finding.about.advice else ""
            out.write(f"Mended    {_what(finding)}{again}\n")
    seen = {finding.kind for finding in found.findings}
    for finding in last.findings:
        if finding.kind not in seen:
            out.write(f"{_line(finding)}\n")
    if repair is not None and repair.recovered is not None:
        rows = ", ".join(pluralize(number, table.removesuffix("s")) for table, number in repair.recovered.items() if number)
        out.write(f"Recovered {rows}\n")
    if repair is not None and repair.saved is not None:
        out.write(f"Kept      the database as it was: {printable(str(repair.saved))}\n")
    out.write(f"{_verdict(last)}\n")


def _line(finding: Finding) -> str:
    about = finding.about
    which = "" if finding.count == 1 or finding.kind in _OF_SQLITE else "one is "
    example = f" ({which}{printable(finding.example)})" if finding.example else ""
    advice = _MENDED if about.mended else about.advice
    return f"{about.severity.value.capitalize():<8}  {_what(finding)}{example}{f' → {advice}' if advice else ''}"


def _what(finding: Finding) -> str:
    return f"{pluralize(finding.count, finding.about.noun)} {finding.about.like}"


def _verdict(check_up: CheckReport) -> str:
    nouns = {"files": "file", "images": "picture", "predictions": "prediction", "labels": "label"}
    counts = [pluralize(check_up.rows[table], noun) for table, noun in nouns.items() if table in check_up.rows]
    looked = f" in {', '.join(counts)}" if counts else ""
    if not check_up.problems:
        return f"Sound: {', '.join(counts)}."
    return f"Not sound: {pluralize(len(check_up.problems), 'problem')}{looked}."


def _as_dict(doctored: DoctorReport) -> dict[str, Any]:
    repair = doctored.repair
    last = doctored.found if repair is None else repair.after
    shown: dict[str, Any] = {
        "home": str(doctored.home),
        "sound": not last.problems,
        "rows": dict(last.rows),
        "findings": [_finding(one) for one in doctored.found.findings],
    }
    if repair is not None:
        shown["repair"] = {
            "saved": None if repair.saved is None else str(repair.saved),
            "recovered": None if repair.recovered is None else dict(repair.recovered),
            "left": [_finding(one) for one in repair.after.findings],
        }
    return shown


def _finding(finding: Finding) -> dict[str, Any]:
    about = finding.about
    return {
        "kind": finding.kind,
        "severity": about.severity.value,
        "count": finding.count,
        "what": _what(finding),
        "example": finding.example or None,
        "mended_by_repair": about.mended,
        "advice": about.advice or None,
    }
