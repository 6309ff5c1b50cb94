"""The report of `moodex doctor`, as text or JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TextIO

from commands.output.letters import can_write
from indexer.plain_data.library import describe_finding, doctor_as_dict
from indexer.system.text import pluralize, printable

if TYPE_CHECKING:
    from indexer.domain.health import CheckReport, DoctorReport, Finding

_REPAIR_COMMAND = "moodex doctor --repair"
_SQLITE_KINDS = ("unreadable", "pages", "indexes", "references")
"""Findings whose example is a message of SQLite."""


def write_doctor_report(report: DoctorReport, repair_wanted: bool, as_json: bool, out: TextIO) -> None:
    """Write a line for each finding, repaired or left, then the verdict, and whether a repair had nothing to do."""
    if as_json:
        out.write(json.dumps(doctor_as_dict(report), indent=2) + "\n")
        return
    repair, before = report.repair, report.found
    last = before if repair is None else repair.after
    left = {finding.kind for finding in last.findings}
    arrow = "→" if can_write("→", out) else "->"
    for finding in before.findings:
        if finding.kind in left:
            out.write(f"{_line(finding, arrow)}\n")
        else:
            advice = f"; {finding.about.advice}" if finding.about.advice else ""
            out.write(f"Repaired  {describe_finding(finding)}{advice}\n")
    written = {finding.kind for finding in before.findings}
    for finding in last.findings:
        if finding.kind not in written:
            out.write(f"{_line(finding, arrow)}\n")
    if repair is not None and repair.recovered is not None:
        rows = ", ".join(pluralize(number, table.removesuffix("s")) for table, number in repair.recovered.items() if number)
        out.write(f"Recovered {rows}\n")
    if repair is not None and repair.saved is not None:
        out.write(f"Kept      the previous database: {printable(str(repair.saved))}\n")
    out.write(f"{_verdict(last)}\n")
    if repair_wanted and repair is None:
        out.write("Nothing was repaired: there is nothing that --repair can repair.\n")


def _line(finding: Finding, arrow: str) -> str:
    about = finding.about
    prefix = "" if finding.count == 1 or finding.kind in _SQLITE_KINDS else "for example "
    example = f" ({prefix}{printable(finding.example)})" if finding.example else ""
    advice = _REPAIR_COMMAND if about.repairable else about.advice
    return f"{about.severity.value.capitalize():<8}  {describe_finding(finding)}{example}{f' {arrow} {advice}' if advice else ''}"


def _verdict(check: CheckReport) -> str:
    nouns = {"files": "file", "images": "image", "predictions": "prediction", "labels": "label"}
    counts = [pluralize(check.rows[table], noun) for table, noun in nouns.items() if table in check.rows]
    checked = f" in {', '.join(counts)}" if counts else ""
    if not check.problems:
        return f"Sound: {', '.join(counts)}."
    return f"Not sound: {pluralize(len(check.problems), 'problem')}{checked}."
