"""The history of runs, as text or JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TextIO

from commands.output.summary import COUNT_WORDS
from indexer.system.text import display_path, printable

if TYPE_CHECKING:
    from indexer.domain.runs import RunRecord

_HIDDEN_COUNTS = ("scanned",)
_SHOWN_ROOTS = 2
"""Number of roots of a run that a line names; JSON has all of them."""


def write_runs(runs: Sequence[RunRecord], as_json: bool, out: TextIO) -> None:
    """Write a line for each run, with its reason below if there is one; or an array of objects."""
    if as_json:
        json.dump([run_as_dict(run) for run in runs], out, indent=2)
        out.write("\n")
        return
    if not runs:
        out.write("No runs yet.\n")
        return
    out.write(f"{'STARTED':<19}  {'TOOK':>8}  {'ENDED':<11}  WHAT\n")
    for run in runs:
        when = datetime.fromtimestamp(run.started_at).isoformat(" ", "seconds")
        took = "-" if run.ended_at is None else format_duration(run.ended_at - run.started_at)
        roots = describe_roots(run)
        out.write(f"{when}  {took:>8}  {run.outcome:<11}  {describe_counts(run)}  ({roots})\n")
        if run.reason:
            out.write(f"{'':<44}{printable(run.reason)}\n")


def describe_roots(run: RunRecord) -> str:
    """Describe the roots of a run: the first ones, and the number of the others."""
    shown = ", ".join(display_path(root) for root in run.roots[:_SHOWN_ROOTS])
    others = len(run.roots) - _SHOWN_ROOTS
    return f"{shown} and {others:,} more" if others > 0 else shown


def describe_counts(run: RunRecord) -> str:
    """Describe the counts of a run, such as "5 indexed, 1 failed"."""
    counts = ", ".join(
        f"{n:,} {COUNT_WORDS.get(name, name)}" for name, n in run.counts.nonzero().items() if name not in _HIDDEN_COUNTS
    )
    without_counts = {"running": "not finished", "died": "committed results are kept", "done": "nothing to do"}
    return counts or without_counts.get(run.outcome, "nothing was done")


def format_duration(seconds: float) -> str:
    """Return a duration, such as "0.4 s", "3 min 20 s" or "2 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes} min {left:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def run_as_dict(run: RunRecord) -> dict[str, object]:
    """Return a run as JSON-compatible data."""
    return {
        "id": run.id,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "seconds": None if run.ended_at is None else round(run.ended_at - run.started_at, 3),
        "outcome": run.outcome,
        "reason": run.reason,
        "roots": [os.fsdecode(root) for root in run.roots],
        "counts": run.counts.nonzero(),
    }
