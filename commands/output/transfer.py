"""The results of backup, restore and export, as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from indexer.system.text import pluralize, printable

if TYPE_CHECKING:
    from indexer.domain.export import ExportReport
    from indexer.domain.health import BackupReport, RestoreReport
    from indexer.domain.reports import SidecarReport


def write_backed_up(report: BackupReport, as_json: bool, out: TextIO) -> None:
    """Write the contents, size and path of a backup."""
    if as_json:
        facts = {"path": str(report.path), "bytes": report.bytes, "rows": dict(report.rows), "model_files": report.models}
        out.write(json.dumps(facts) + "\n")
        return
    size = f"{report.bytes / 1e6:,.1f} MB"
    out.write(f"Saved and checked: {printable(str(report.path))}, {size}: {_contents(report.rows, report.models)}.\n")


def write_restored(report: RestoreReport, as_json: bool, out: TextIO) -> None:
    """Write what was restored, and where the replaced library is kept."""
    if as_json:
        facts = {
            "home": str(report.home),
            "created": report.created,
            "rows": dict(report.rows),
            "model_files": report.models,
            "kept": [str(path) for path in report.kept],
        }
        out.write(json.dumps(facts) + "\n")
        return
    for path in report.kept:
        out.write(f"Kept      the replaced library: {printable(str(path))}\n")
    contents = _contents(report.rows, report.models)
    out.write(f"Restored to {printable(str(report.home))} as of {printable(report.created)}: {contents}.\n")


def write_exported(report: ExportReport, as_json: bool, out: TextIO) -> None:
    """Write the number of exported rows, the model and the path."""
    if as_json:
        out.write(json.dumps(asdict(report)) + "\n")
        return
    out.write(f"Exported {pluralize(report.rows, 'row')} of {printable(report.model)}: {printable(report.path)}\n")


def write_sidecar_report(report: SidecarReport, as_json: bool, out: TextIO) -> None:
    """Write the numbers of sidecars that were written, unchanged, kept and not written, and of missing images."""
    if as_json:
        out.write(json.dumps(asdict(report)) + "\n")
        return
    verb = "Would write" if report.dry_run else "Wrote"
    parts = [f"{verb} {pluralize(report.written, 'sidecar')}"]
    parts += [f"{report.unchanged:,} unchanged"] if report.unchanged else []
    removed = "to remove" if report.dry_run else "removed"
    parts += [f"{report.removed:,} {removed}, whose images have no emotion any more"] if report.removed else []
    parts += [f"{report.kept:,} kept, which hold something else"] if report.kept else []
    parts += [f"{report.failed:,} failed"] if report.failed else []
    parts += [f"{pluralize(report.missing, 'image')} missing"] if report.missing else []
    out.write("; ".join(parts) + ".\n")


def _contents(rows: Mapping[str, int], models: int) -> str:
    parts = [pluralize(rows.get(f"{noun}s", 0), noun) for noun in ("file", "prediction", "label")]
    return ", ".join([*parts, *([pluralize(models, "file") + " of your own models"] if models else [])])


def write_migrated(rows: Mapping[str, int], as_json: bool, out: TextIO) -> None:
    """Write the number of rows of each table that was copied."""
    if as_json:
        json.dump({"rows": dict(rows)}, out, indent=2)
        out.write("\n")
        return
    counts = f"{pluralize(rows['files'], 'file')}, {pluralize(rows['images'], 'image')} and {pluralize(rows['labels'], 'label')}"
    out.write(f"Copied and compared {counts}: {sum(rows.values()):,} rows in all.\n")
