"""The summary of an index run, as text or JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TextIO

from indexer.system.text import pluralize

if TYPE_CHECKING:
    from indexer.domain.reports import Summary

COUNT_WORDS = {
    "indexed": "indexed",
    "reused": "already known",
    "unchanged": "unchanged",
    "moved": "moved",
    "removed": "removed",
    "kept": "missing, kept",
    "failed": "failed",
    "expired": "forgotten",
}
"""The word for each count, in the order of the output."""


def write_summary(summary: Summary, as_json: bool, out: TextIO, flush: bool = False) -> None:
    """Write the summary of a run. With `flush`, a program that reads the output gets it at once."""
    out.write(json.dumps(summary.as_dict()) + "\n" if as_json else _in_words(summary))
    if flush:
        out.flush()


def _in_words(summary: Summary) -> str:
    if not summary.scanned and not summary.removed and not summary.kept:
        return "No image files were found.\n"
    counts = summary.as_dict()
    parts = [f"{counts[field]:,} {words}" for field, words in COUNT_WORDS.items() if counts[field]]
    lines = [f"{pluralize(summary.scanned, 'image file')}: {', '.join(parts) or 'nothing to do'}."]
    rate = f"{summary.images_per_second:.1f} images per second"
    details = f" on {summary.device} by {summary.engine}, {rate}" if summary.indexed else ""
    lines.append(f"{summary.seconds:.1f} s with {summary.model}{details}.")
    if summary.failed:
        lines.append("See why files failed: moodex status --failures 100")
    return "\n".join([*lines, ""])
