"""What a check-up found and a repair did, for people and programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TextIO

from render.text import counted, printable

if TYPE_CHECKING:
    from indexer.health import CheckUp, Doctored, Finding

_MENDED = "moodex doctor --repair"


def write_doctored(doctored: Doctored, as_json: bool, out: TextIO) -> None:
    """Write a line for each finding, then what was mended, then how it stands."""
    if as_json:
        out.write(json.dumps(_as_dict(doctored), indent=2) + "\n")
        return
    repair = doctored.repair
    for finding in doctored.found.findings:
        out.write(f"{_line(finding, advise=repair is None)}\n")
    if repair is None:
        out.write(f"{_verdict(doctored.found)}\n")
        return
    if repair.saved is not None:
        out.write(f"Kept      the database as it was: {printable(str(repair.saved))}\n")
    if repair.recovered is not None:
        rows = ", ".join(f"{number:,} {table}" for table, number in repair.recovered.items() if number)
        out.write(f"Recovered {rows or 'nothing'}\n")
    left = {finding.kind for finding in repair.after.findings}
    for finding in doctored.found.findings:
        if finding.kind not in left:
            again = f"; {finding.about.advice}" if finding.about.advice else ""
            out.write(f"Mended    {_what(finding)}{again}\n")
    for finding in repair.after.findings:
        if finding not in doctored.found.findings:
            out.write(f"{_line(finding, advise=True)}\n")
    out.write(f"{_verdict(repair.after)}\n")


def _line(finding: Finding, advise: bool) -> str:
    about = finding.about
    example = f", as {printable(finding.example)}" if finding.example else ""
    advice = _MENDED if about.mended else about.advice
    return f"{about.severity.value.capitalize():<8}  {_what(finding)}{example}{f' → {advice}' if advise and advice else ''}"


def _what(finding: Finding) -> str:
    return f"{counted(finding.count, finding.about.noun)} {finding.about.like}"


def _verdict(check_up: CheckUp) -> str:
    rows = check_up.rows
    looked = f"{counted(rows.get('files', 0), 'file')}, {counted(rows.get('images', 0), 'picture')}, "
    looked += f"{counted(rows.get('predictions', 0), 'prediction')}, {counted(rows.get('labels', 0), 'label')}"
    if not check_up.problems:
        return f"Sound: {looked}."
    return f"Not sound: {counted(len(check_up.problems), 'problem')} in {looked}."


def _as_dict(doctored: Doctored) -> dict[str, Any]:
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
