"""The history of runs, as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TextIO

from commands.output.summary import COUNT_WORDS
from indexer.plain_data.runs import run_as_dict
from indexer.system.text import display_paths, printable

if TYPE_CHECKING:
    from indexer.domain.runs import RunRecord

_HIDDEN_COUNTS = ("scanned",)


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
        roots = display_paths(run.roots)
        models = f" with {', '.join(map(printable, run.models))}" if len(run.models) > 1 else ""
        out.write(f"{when}  {took:>8}  {run.outcome:<11}  {describe_counts(run)}{models}  ({roots})\n")
        if run.reason:
            out.write(f"{'':<44}{printable(run.reason)}\n")


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
