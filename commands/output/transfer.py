"""What was saved, restored and exported, for people and programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from indexer.system.text import pluralize, printable

if TYPE_CHECKING:
    from indexer.domain.export import ExportReport
    from indexer.domain.health import BackupReport, RestoreReport


def write_backed_up(done: BackupReport, as_json: bool, out: TextIO) -> None:
    """Say what a backup holds and where it is."""
    if as_json:
        facts = {"path": str(done.path), "bytes": done.bytes, "rows": dict(done.rows), "model_files": done.models}
        out.write(json.dumps(facts) + "\n")
        return
    size = f"{done.bytes / 1e6:,.1f} MB"
    out.write(f"Saved and checked: {printable(str(done.path))}, {size}: {_held(done.rows, done.models)}.\n")


def write_restored(done: RestoreReport, as_json: bool, out: TextIO) -> None:
    """Say what was restored, and where what was there before is."""
    if as_json:
        kept = [str(path) for path in done.kept]
        facts = {
            "home": str(done.home),
            "created": done.created,
            "rows": dict(done.rows),
            "model_files": done.models,
            "kept": kept,
        }
        out.write(json.dumps(facts) + "\n")
        return
    for path in done.kept:
        out.write(f"Kept      what was there: {printable(str(path))}\n")
    out.write(f"Restored to {printable(str(done.home))} as of {printable(done.created)}: {_held(done.rows, done.models)}.\n")


def write_exported(done: ExportReport, as_json: bool, out: TextIO) -> None:
    """Say how many rows went where."""
    if as_json:
        out.write(json.dumps(asdict(done)) + "\n")
        return
    out.write(f"Exported {pluralize(done.rows, 'row')} of {printable(done.model)}: {printable(done.path)}\n")


def _held(rows: Mapping[str, int], models: int) -> str:
    parts = [pluralize(rows.get(f"{noun}s", 0), noun) for noun in ("file", "prediction", "label")]
    return ", ".join([*parts, *([pluralize(models, "file") + " of your own models"] if models else [])])
