"""What an indexing run did: one sentence for people, one object for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TextIO

from render.text import counted

if TYPE_CHECKING:
    from indexer.messages import Summary

_PARTS = (
    ("indexed", "indexed"),
    ("reused", "known already"),
    ("unchanged", "unchanged"),
    ("moved", "moved"),
    ("removed", "removed"),
    ("kept", "missing, kept"),
    ("failed", "failed"),
)


def write_summary(summary: Summary, as_json: bool, out: TextIO) -> None:
    """Write a run's summary."""
    if as_json:
        out.write(json.dumps(summary.as_dict()) + "\n")
        return
    if not summary.scanned and not summary.removed and not summary.kept:
        out.write("No picture files were found.\n")
        return
    counts = summary.as_dict()
    parts = [f"{counts[field]:,} {words}" for field, words in _PARTS if counts[field]]
    out.write(f"{counted(summary.scanned, 'picture file')}: {', '.join(parts) or 'nothing to do'}.\n")
    how = (
        f" on {summary.device} by {summary.engine}, {summary.images_per_second:.1f} pictures a second" if summary.indexed else ""
    )
    out.write(f"{summary.seconds:.1f} s with {summary.model}{how}.\n")
    if summary.failed:
        out.write("See why files failed: moodex status --failures 100\n")
