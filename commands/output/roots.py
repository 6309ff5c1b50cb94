"""What is indexed, was forgotten or moved, as text or JSON."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TextIO

from indexer.plain_data.library import root_as_dict
from indexer.system.text import display_path, pluralize

if TYPE_CHECKING:
    from indexer.domain.files import IndexedRoot
    from indexer.ingest.library_roots import ForgetReport, MoveReport

_MAX_SINGLE_FILES = 5
"""Roots that are files of one folder are listed one by one up to this number."""


def write_roots(roots: Sequence[tuple[IndexedRoot, bool]], as_json: bool, out: TextIO) -> None:
    """Write a line for each root, or an array of objects. Many single files of a folder share a line."""
    if as_json:
        facts = [root_as_dict(root, exists) for root, exists in roots]
        out.write(json.dumps(facts, indent=2) + "\n")
        return
    if not roots:
        out.write("Nothing is indexed yet; run: moodex index FOLDER\n")
        return
    single: dict[bytes, list[IndexedRoot]] = defaultdict(list)
    for root, exists in roots:
        if exists and os.path.isfile(root.path):
            single[os.path.dirname(root.path)].append(root)
    crowded = {folder: own for folder, own in sorted(single.items()) if len(own) > _MAX_SINGLE_FILES}
    grouped = {root.path for own in crowded.values() for root in own}
    out.write(f"{'FILES':>9}  {'LAST INDEXED':<16}  PATH\n")
    for root, exists in roots:
        if root.path not in grouped:
            missing = "" if exists else "  (missing)"
            out.write(f"{root.files:>9,}  {_when(root.indexed_at)}  {display_path(root.path)}{missing}\n")
    for folder, own in crowded.items():
        latest = _when(max(root.indexed_at for root in own))
        out.write(f"{sum(root.files for root in own):>9,}  {latest}  {display_path(folder)}  ({len(own):,} single files)\n")


def write_forgotten(report: ForgetReport, as_json: bool, out: TextIO) -> None:
    """Write the number of forgotten files, and what would index them again."""
    if as_json:
        facts = {"forgotten": report.forgotten, "indexed_by": list(map(os.fsdecode, report.indexed_by))}
        out.write(json.dumps(facts) + "\n")
        return
    out.write(f"Forgot {pluralize(report.forgotten, 'file')}. Their labels are kept with their images.\n")
    for root in report.indexed_by:
        out.write(
            f"The next run over {display_path(root)} indexes them again; to keep them out, name them in its .moodexignore.\n"
        )


def write_moved(report: MoveReport, as_json: bool, out: TextIO) -> None:
    """Write the number of files whose paths changed."""
    if as_json:
        facts = {"moved": report.moved, "old": os.fsdecode(report.old), "new": os.fsdecode(report.new)}
        out.write(json.dumps(facts) + "\n")
        return
    out.write(f"{pluralize(report.moved, 'file')} moved from {display_path(report.old)} to {display_path(report.new)}.\n")


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).isoformat(" ", "minutes")
