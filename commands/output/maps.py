"""The result of making a map, as text or JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from commands.output.runs import format_duration
from indexer.system.text import pluralize, printable

if TYPE_CHECKING:
    from indexer.domain.maps import MapReport


def write_map_report(report: MapReport, as_json: bool, out: TextIO) -> None:
    """Write the number of points, the model and the time."""
    if as_json:
        out.write(json.dumps(asdict(report)) + "\n")
        return
    placed = report.points - report.fitted
    beside = f", {placed:,} of them placed beside their nearest neighbors" if placed else ""
    points, seconds = pluralize(report.points, "face"), format_duration(report.seconds)
    out.write(f"Mapped {points} of {printable(report.model)} in {seconds}{beside}. See the map: moodex serve --open\n")
