"""The summary of an index run, as text or JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from indexer.imaging.further_formats import install_readers
from indexer.ports.sources import ARCHIVE_EXTENSIONS, EXTRA_EXTENSIONS, HIDDEN, LARGE_VIDEO, LINK
from indexer.sources.archives.packages import install_packages
from indexer.system.text import display_path, pluralize, printable

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
    "labels_followed": "changed and labeled as before",
    "labels_orphaned": "changed and no longer labeled",
}
"""The word for each count, in the order of the output."""

_MAX_NAMES = 5
_MAX_KINDS = 6
_KIND_WORDS = {LINK: "links", LARGE_VIDEO: "videos over 16 MiB"}


def write_summary(summary: Summary, as_json: bool, out: TextIO, flush: bool = False) -> None:
    """Write the summary of a run. With `flush`, a program that reads the output gets it at once."""
    out.write(json.dumps(summary.as_dict()) + "\n" if as_json else _in_words(summary))
    if flush:
        out.flush()


def _in_words(summary: Summary) -> str:
    notes = [*_unlisted(summary), *_system_entries(summary.system_entries), *_skipped(summary.skipped)]
    if not (summary.scanned or summary.removed or summary.kept or summary.left_out):
        return "\n".join([*notes, ""] if summary.unlisted else ["No image files were found.", *notes, ""])
    counts = summary.as_dict() | {"failed": summary.failed - summary.not_scanned}
    parts = [f"{counts[field]:,} {words}" for field, words in COUNT_WORDS.items() if counts[field]]
    if summary.not_scanned:
        places = "folder or archive" if summary.not_scanned == 1 else "folders or archives"
        parts.append(f"{summary.not_scanned:,} {places} not scanned")
    lines = [f"{pluralize(summary.scanned, 'image file')}: {', '.join(parts) or 'nothing to do'}."]
    rate = f"{summary.images_per_second:.1f} images per second"
    read = summary.indexed or summary.reused
    details = f" on {summary.device} by {summary.engine}, {rate}" if read else ""
    lines.append(f"{summary.seconds:.1f} s with {summary.model}{details}.")
    if summary.labels_orphaned:
        lines.append("See labels whose images changed too much: moodex label --orphans")
    lines += notes
    if counts["failed"]:
        lines.append("See why files failed: moodex status --failures 100")
    return "\n".join([*lines, ""])


def _unlisted(summary: Summary) -> list[str]:
    """Say why folders could not be scanned, for the first ones."""
    return [f"Not scanned: {display_path(os.fsencode(path))}: {printable(why)}" for path, why in summary.unlisted.items()]


def _system_entries(counts: Mapping[str, int]) -> list[str]:
    """Describe the folders and files of systems that were left out, in at most one line."""
    if not counts:
        return []
    names = list(map(printable, counts))
    shown = ", ".join(names[:_MAX_NAMES]) + (", ..." if len(names) > _MAX_NAMES else "")
    number = f"{sum(counts.values()):,}"
    return [f"Left out, because systems or programs use them ({number}): {shown}. To index one: --exclude '!{names[0]}'"]


def _skipped(skipped: Mapping[str, int]) -> list[str]:
    """Return a line about the files that the scan passed over, by kind, and one about links; hidden files are no surprise."""
    counts = {kind: count for kind, count in skipped.items() if kind != HIDDEN}
    if not counts:
        return []
    kinds = sorted(counts, key=lambda kind: (-counts[kind], kind))
    parts = [f"{counts[kind]:,} {_KIND_WORDS.get(kind, printable(kind))}" for kind in kinds[:_MAX_KINDS]]
    if rest := sum(counts[kind] for kind in kinds[_MAX_KINDS:]):
        parts.append(f"{rest:,} others")
    lines = [f"Passed over: {', '.join(parts)}. List them: moodex -v index"]
    if extras := sorted({EXTRA_EXTENSIONS[kind] for kind in map(os.fsencode, counts) if kind in EXTRA_EXTENSIONS}):
        lines.append(f"Extra decoders read some of them: {install_readers(extras)}")
    if packages := {ARCHIVE_EXTENSIONS.get(os.fsencode(kind), "") for kind in counts} - {""}:
        lines.append(f"An extra reads some of these archives: {install_packages(packages)}")
    return [*lines, "Links are followed with --follow-symlinks."] if LINK in counts else lines
