"""The survey of a folder: compares scanned files with the store, and decides which have to be analyzed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from indexer.domain.files import FileState
from indexer.ports.store_writer import FolderScanResult, KnownFile

if TYPE_CHECKING:
    from indexer.ports.sources import ScannedFile, ScannedFolder

_RETRIED_FAILURES = ("unreadable", "unsupported")
"""Failures that may end without a change of the file: permissions change, and users install decoders."""


@dataclass(frozen=True, slots=True)
class FolderPlan:
    """The plan for one folder.

    - `result`: what the store has to record.
    - `scanned`, `unchanged`, `still_failed`: numbers of files.
    - `missing`: names of known files that the scan did not find.
    """

    result: FolderScanResult
    scanned: int
    unchanged: int
    still_failed: int
    missing: tuple[bytes, ...]


def plan_folder(scanned: ScannedFolder, known: Mapping[bytes, KnownFile], force: bool) -> FolderPlan:
    """Decide which files of a folder have to be analyzed; with `force`, all of them."""
    files = scanned.files
    failed = {file.name: (file.stamp, file.problem) for file in files if file.problem}
    candidates = [file for file in files if not file.problem]
    pending = {file.name: file.stamp for file in candidates if force or _must_be_analyzed(file, known.get(file.name))}
    skipped = [known[file.name] for file in candidates if file.name not in pending]
    restamped = {
        file.name: file.stamp
        for file in candidates
        if file.name not in pending and known[file.name].stamp != file.stamp and file.stamp.change is not None
    }
    still_failed = sum(file.state is FileState.FAILED for file in skipped)
    names = {file.name for file in files}
    missing = [name for name, file in known.items() if scanned.whole and name not in names and file.state is not FileState.GONE]
    return FolderPlan(
        # A folder with missing files gets no listing: if their entries are kept, the next run must detect them again.
        result=FolderScanResult(
            scanned.path, pending, failed, scanned.listing() if scanned.whole and not missing else None, restamped=restamped
        ),
        scanned=len(files),
        unchanged=len(skipped) - still_failed,
        still_failed=still_failed,
        missing=tuple(missing),
    )


def _must_be_analyzed(scanned: ScannedFile, known: KnownFile | None) -> bool:
    if known is None or not known.stamp.matches(scanned.stamp):
        return True
    if known.state is FileState.DONE:
        return not known.predicted
    if known.state is FileState.FAILED:
        return known.failure is None or known.failure.kind in _RETRIED_FAILURES
    return True
