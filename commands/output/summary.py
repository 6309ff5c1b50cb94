"""The summary of an index run, as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from indexer.system.text import pluralize, printable

if TYPE_CHECKING:
    from indexer.domain.reports import Summary

COUNT_WORDS = {
    "indexed": "indexed",
    "reused": "already known",
    "unchanged": "unchanged",
    "moved": "moved",
    "removed": "removed",
    "kept": "missing, kept",
    "left_out": "left out now",
    "failed": "failed",
    "expired": "forgotten",
    "labels_followed": "labels followed their changed images",
    "labels_orphaned": "labels kept without an image",
}
"""The word for each count, in the order of the output."""

_MAX_NAMES = 5


def write_summary(summary: Summary, as_json: bool, out: TextIO, flush: bool = False) -> None:
    """Write the summary of a run. With `flush`, a program that reads the output gets it at once."""
    out.write(json.dumps(summary.as_dict()) + "\n" if as_json else _in_words(summary))
    if flush:
        out.flush()


def _in_words(summary: Summary) -> str:
    left_out = _system_entries(summary.system_entries)
    if not (summary.scanned or summary.removed or summary.kept or summary.left_out):
        return f"No image files were found.\n{left_out}"
    counts = summary.as_dict()
    parts = [f"{counts[field]:,} {words}" for field, words in COUNT_WORDS.items() if counts[field]]
    lines = [f"{pluralize(summary.scanned, 'image file')}: {', '.join(parts) or 'nothing to do'}."]
    rate = f"{summary.images_per_second:.1f} images per second"
    details = f" on {summary.device} by {summary.engine}, {rate}" if summary.indexed else ""
    lines.append(f"{summary.seconds:.1f} s with {summary.model}{details}.")
    if summary.labels_orphaned:
        lines.append("See labels whose images changed too much: moodex label --orphans")
    if summary.failed:
        lines.append("See why files failed: moodex status --failures 100")
    return "\n".join([*lines, left_out])


def _system_entries(counts: Mapping[str, int]) -> str:
    """Describe the folders and files of systems that were left out."""
    if not counts:
        return ""
    names = list(map(printable, counts))
    shown = ", ".join(names[:_MAX_NAMES]) + (", ..." if len(names) > _MAX_NAMES else "")
    number = f"{sum(counts.values()):,}"
    return f"Left out, because systems or programs use them ({number}): {shown}. To index one: --exclude '!{names[0]}'\n"
