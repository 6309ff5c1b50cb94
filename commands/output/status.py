"""The status of a library, as text or JSON."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, TextIO

from commands.output.runs import describe_counts
from indexer.plain_data.runs import status_as_dict
from indexer.system.text import display_path, display_paths, pluralize, printable

if TYPE_CHECKING:
    from indexer.domain.reports import Status


def write_status(status: Status, as_json: bool, out: TextIO) -> None:
    """Write file counts, the share of images that each model analyzed, runs, failures and disk use."""
    if as_json:
        json.dump(status_as_dict(status), out, indent=2)
        out.write("\n")
        return
    files = {state.value: n for state, n in status.counts.files.items()}
    words = {"done": "done", "failed": "failed", "pending": "pending", "gone": "missing"}
    states = ", ".join(f"{files.get(state, 0):,} {word}" for state, word in words.items())
    disk = sum(status.disk_bytes.values()) / 1e6
    out.write(f"Home      {printable(str(status.home))}  ({disk:,.1f} MB)\n")
    out.write(f"Files     {states}\n")
    hidden = f", {status.hidden:,} of them hidden" if status.hidden else ""
    out.write(f"Images    {status.counts.images:,}{hidden}\n")
    for model, images in status.models:
        share = images / status.counts.images if status.counts.images else 0
        out.write(f"Model     {printable(model.card.name)}: {pluralize(images, 'image')} ({share:.0%})\n")
    for run in status.runs:
        when = datetime.fromtimestamp(run.started_at).isoformat(" ", "minutes")
        roots = display_paths(run.roots)
        out.write(f"Run       {when}  {run.outcome}: {describe_counts(run)}  ({roots})\n")
    for path, failure in status.failures:
        out.write(f"Failed    {display_path(path)}: {printable(failure.reason)}\n")
    if 0 < len(status.failures) < (failed := files.get("failed", 0)):
        out.write(f"          and {failed - len(status.failures):,} more; list all: moodex status --failures {failed}\n")
