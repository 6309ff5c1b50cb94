"""The health check of every part of a library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from indexer.domain.errors import ForeignDatabase, StoreDamaged
from indexer.domain.health import CheckReport, Finding
from indexer.domain.runs import DIED, with_dead_runs_marked
from indexer.maintenance.file_check import find_changed_files, stale_temp_files
from indexer.settings import available_cores

if TYPE_CHECKING:
    from indexer.domain.files import IndexedFile
    from indexer.library import Library
    from indexer.ports.maintenance import DatabaseMaintenance
    from indexer.ports.progress import Progress

_CHECKED_RUNS = 1000
"""The latest runs, which are checked for one that died."""

_DAMAGED_PAGES = ("unreadable", "pages")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The findings of a check, the files whose bytes changed silently, and the leftover files to delete."""

    report: CheckReport
    rotten: list[IndexedFile] = field(default_factory=list)
    leftovers: list[Path] = field(default_factory=list)


@dataclass(slots=True)
class IntegrityCheck:
    """One pass over a library. `writer` is the id of the process that writes to it now, if any."""

    library: Library
    maintenance: DatabaseMaintenance
    writer: int | None
    progress: Progress
    check_stop: Callable[[], None]

    def run(self, deep: bool) -> CheckResult:
        """Check everything; if `deep`, also the bytes of every image file."""
        findings: list[Finding] = []
        rotten: list[IndexedFile] = []
        leftovers: list[Path] = []
        rows: dict[str, int] = {}
        try:
            rows = self.maintenance.count_rows() if self._is_readable() else {}
            self.progress.start(_steps(rows))
            findings += self.maintenance.check(self.writer, self.check_stop, self._advance)
            self.check_stop()  # a statement that was stopped looks like one that failed
            has_intact_pages = not any(finding.kind in _DAMAGED_PAGES for finding in findings)
            if has_intact_pages:
                findings += self.maintenance.check_vectors(self.check_stop, self._advance)
                findings += self._files(deep, rotten)
                findings += self._weights()
            leftovers = stale_temp_files(self.library.settings.home)
            if has_intact_pages and self.writer is None:
                leftovers += self.maintenance.orphan_files()
            if leftovers:
                findings.append(Finding("temporaries", len(leftovers), str(leftovers[0])))
            findings = [finding for finding in findings if finding.kind != "runs_died" or self._has_run_died()]
        finally:
            self.progress.finish()
        return CheckResult(CheckReport(tuple(findings), rows), rotten, leftovers)

    def _is_readable(self) -> bool:
        """Bring the schema up to date, as every command does; return whether the database can be read at all."""
        try:
            with self.library.database.open(reading=True):
                return True
        except ForeignDatabase:
            raise
        except StoreDamaged:
            return False

    def _has_run_died(self) -> bool:
        """Return whether a run really died: it may have begun after `writer` was determined."""
        try:
            with self.library.database.open(reading=True) as store:
                runs = with_dead_runs_marked(partial(store.runs, _CHECKED_RUNS), self.library.database.current_writers)
        except StoreDamaged:
            return True
        return any(run.outcome == DIED for run in runs)

    def _files(self, deep: bool, rotten: list[IndexedFile]) -> Iterator[Finding]:
        """Compare the indexed files with the disk; add those with other bytes at the same size and time to `rotten`."""
        counts: dict[str, int] = {}
        examples: dict[str, bytes] = {}
        workers = self.library.settings.workers or 2 * available_cores()
        with self.library.database.open(reading=True) as store:
            for kind, file in find_changed_files(store, self.library.source, deep, workers, self._advance):
                counts[kind] = counts.get(kind, 0) + 1
                examples.setdefault(kind, file.path)
                if kind == "files_rotten":
                    rotten.append(file)
        for kind, count in counts.items():
            yield Finding(kind, count, examples[kind].decode("utf-8", "surrogateescape"))

    def _weights(self) -> Iterator[Finding]:
        """Compare the weights of every model with predictions with the digest on its card."""
        used = {card.key: card.name for card in self.maintenance.used_cards()}
        changed, installed = [], set()
        for model, card in self.library.models.cards():
            if card.key in used:
                installed.add(card.key)
                self.check_stop()
                if blake3(max_threads=blake3.AUTO).update_mmap(model.weights).hexdigest() != card.weights_digest:
                    changed.append(model.name)
        missing = [name for key, name in used.items() if key not in installed]
        if changed:
            yield Finding("weights_changed", len(changed), changed[0])
        if missing:
            yield Finding("weights_gone", len(missing), missing[0])

    def _advance(self, rows: int) -> None:
        self.check_stop()
        self.progress.advance(rows, 0)


def _steps(rows: dict[str, int]) -> int:
    """Count the rows that a check reads: each as a row and as part of the file, and some again with their content."""
    content = 2 * rows.get("predictions", 0) + rows.get("embeddings", 0) + rows.get("files", 0)
    return 2 * sum(rows.values()) + content
