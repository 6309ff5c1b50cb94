"""Stamps to work: compares what a scan found in a folder with what the store knows, and says what has to be looked into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from indexer.domain.files import FileState
from indexer.ports.store_writer import FolderScanResult, KnownFile

if TYPE_CHECKING:
    from indexer.ports.sources import ScannedFile, ScannedFolder

_TRIED_AGAIN = ("unreadable", "unsupported")
"""Failures that the file's stamp does not explain: permissions change, decoders get installed."""


@dataclass(frozen=True, slots=True)
class FolderPlan:
    """What one folder needs: `note` is what the store has to be told; `missing` are the ids of known files that are not there."""

    note: FolderScanResult
    scanned: int
    unchanged: int
    still_failed: int
    missing: tuple[int, ...]


def plan_folder(scanned: ScannedFolder, known: Mapping[bytes, KnownFile], force: bool) -> FolderPlan:
    """Sort a folder's files into those that need a look and those that do not."""
    files = scanned.files
    broken = {found.name: (found.stamp, found.problem) for found in files if found.problem}
    sound = [found for found in files if not found.problem]
    waiting = {found.name: found.stamp for found in sound if force or _needs_a_look(found, known.get(found.name))}
    settled = [known[found.name] for found in sound if found.name not in waiting]
    still_failed = sum(file.state is FileState.FAILED for file in settled)
    seen = {found.name for found in files}
    missing = [file.id for name, file in known.items() if scanned.whole and name not in seen and file.state is not FileState.GONE]
    return FolderPlan(
        # What is missing must be missed again on the next run, in case it stays.
        note=FolderScanResult(scanned.path, waiting, broken, scanned.listing() if scanned.whole and not missing else None),
        scanned=len(files),
        unchanged=len(settled) - still_failed,
        still_failed=still_failed,
        missing=tuple(missing),
    )


def _needs_a_look(found: ScannedFile, known: KnownFile | None) -> bool:
    if known is None or known.stamp != found.stamp:
        return True
    if known.state is FileState.DONE:
        return not known.predicted
    if known.state is FileState.FAILED:
        return known.failure is None or known.failure.kind in _TRIED_AGAIN
    return True
