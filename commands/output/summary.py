"""What an indexing run did: one sentence for people, one object for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TextIO

from indexer.system.text import pluralize

if TYPE_CHECKING:
    from indexer.domain.reports import Summary

WORDS = {
    "indexed": "indexed",
    "reused": "known already",
    "unchanged": "unchanged",
    "moved": "moved",
    "removed": "removed",
    "kept": "missing, kept",
    "failed": "failed",
    "expired": "forgotten",
}
"""What counts are called, in the order in which people want to know."""


def write_summary(summary: Summary, as_json: bool, out: TextIO, now: bool = False) -> None:
    """Write a run's summary; `now`, so that whoever reads along sees it."""
    out.write(json.dumps(summary.as_dict()) + "\n" if as_json else _in_words(summary))
    if now:
        out.flush()


def _in_words(summary: Summary) -> str:
    if not summary.scanned and not summary.removed and not summary.kept:
        return "No picture files were found.\n"
    counts = summary.as_dict()
    parts = [f"{counts[field]:,} {words}" for field, words in WORDS.items() if counts[field]]
    lines = [f"{pluralize(summary.scanned, 'picture file')}: {', '.join(parts) or 'nothing to do'}."]
    rate = f"{summary.images_per_second:.1f} pictures a second"
    how = f" on {summary.device} by {summary.engine}, {rate}" if summary.indexed else ""
    lines.append(f"{summary.seconds:.1f} s with {summary.model}{how}.")
    if summary.failed:
        lines.append("See why files failed: moodex status --failures 100")
    return "\n".join([*lines, ""])
