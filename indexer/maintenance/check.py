"""The composition root of the command that checks a data folder and mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.bootstrap import cores, model_registry, open_store
from indexer.domain.errors import ForeignDatabase, StoreDamaged
from indexer.domain.health import CheckReport, Finding, IndexedFile

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.ports.progress import Progress
    from indexer.settings import Settings

_RUNS = 1000
"""How many runs are looked at for one that died."""


class IntegrityCheck:
    """One way through everything. `rotten` and `orphan_files` are what the last one found of those."""

    def __init__(self, settings: Settings, writer: int | None, progress: Progress, check_stop: Callable[[], None]) -> None:
        self._settings = settings
        self._writer = writer
        self._progress = progress
        self._check_stop = check_stop
        self.rotten: list[IndexedFile] = []
        self.strays: list[Path] = []

    def run(self, deep: bool) -> CheckReport:
        findings: list[Finding] = []
        rows: dict[str, int] = {}
        try:
            readable = self._up_to_date()
            rows = self._counts() if readable else {}
            # As rows, as parts of the whole file; what they say; in the vector indexes; on disk.
            again = 2 * rows.get("predictions", 0) + rows.get("embeddings", 0) + rows.get("files", 0)
            self._progress.start(2 * sum(rows.values()) + again)
            findings += self._database()
            self._check_stop()  # a statement that was stopped looks like one that failed
            if not any(one.kind in ("unreadable", "pages") for one in findings):
                findings += [*self._vectors(), *self._files(deep), *self._weights()]
            findings += self._leftovers(findings)
            findings = [one for one in findings if one.kind != "runs_died" or self._has_one_died()]
        finally:
            self._progress.finish()
        return CheckReport(tuple(findings), rows)

    def _up_to_date(self) -> bool:
        """Bring the schema up to date, as every command does; whether the database can be read at all."""
        try:
            with open_store(self._settings, reading=True):
                pass
        except ForeignDatabase:
            raise
        except StoreDamaged:
            return False
        return True

    def _has_one_died(self) -> bool:
        """Whether a run did die that seems to: it may have begun after the writer was asked for."""
        from db.writer_lock import writer
        from indexer.domain.runs import DIED, with_dead_runs_marked

        try:
            with open_store(self._settings, reading=True) as store:
                runs = with_dead_runs_marked(partial(store.runs, _RUNS), partial(writer, self._settings.home))
        except StoreDamaged:
            return True
        return any(run.outcome == DIED for run in runs)

    def _counts(self) -> dict[str, int]:
        from db.sqlite.check import count_rows
        from db.sqlite.raw_connection import UNREADABLE, reading

        try:
            with reading(self._settings.database) as connection:
                return count_rows(connection)
        except UNREADABLE:
            return {}

    def _database(self) -> Iterator[Finding]:
        from db.sqlite.check import examine
        from db.sqlite.raw_connection import UNREADABLE, reading

        try:
            with reading(self._settings.database, self._check_stop) as connection:
                yield from examine(connection, self._writer, self._advance)
        except UNREADABLE as error:
            yield Finding("unreadable", 1, str(error))

    def _vectors(self) -> Iterator[Finding]:
        from db.vectors.check import check_vectors

        settings = self._settings
        yield from check_vectors(settings.database, settings.vectors, self._check_stop, self._advance)

    def _files(self, deep: bool) -> Iterator[Finding]:
        from db.sqlite.file_checks import done_files, still_known
        from indexer.maintenance.file_check import find_changed_files

        settings = self._settings
        self.rotten = []
        counts: dict[str, int] = {}
        examples: dict[str, bytes] = {}
        workers = settings.workers or 2 * cores()
        known = done_files(settings.database)
        for kind, place in find_changed_files(
            known, deep, workers, lambda some: still_known(settings.database, some), self._advance
        ):
            counts[kind] = counts.get(kind, 0) + 1
            examples.setdefault(kind, place.path)
            if kind == "files_rotten":
                self.rotten.append(place)
        for kind, number in counts.items():
            yield Finding(kind, number, examples[kind].decode("utf-8", "surrogateescape"))

    def _weights(self) -> Iterator[Finding]:
        from blake3 import blake3

        used = {card.key: card.name for card in _used(self._settings).values()}
        changed, there = [], set()
        for model, card in model_registry(self._settings).cards():
            if card.key in used:
                there.add(card.key)
                self._check_stop()
                if blake3(max_threads=blake3.AUTO).update_mmap(model.weights).hexdigest() != card.weights_digest:
                    changed.append(model.name)
        gone = [name for key, name in used.items() if key not in there]
        if changed:
            yield Finding("weights_changed", len(changed), changed[0])
        if gone:
            yield Finding("weights_gone", len(gone), gone[0])

    def _leftovers(self, findings: list[Finding]) -> Iterator[Finding]:
        from db.vectors.check import orphan_files
        from indexer.maintenance.file_check import stale_temp_files

        self.strays = stale_temp_files(self._settings.home)
        if self._writer is None and not any(one.kind in ("unreadable", "pages") for one in findings):
            self.strays += orphan_files(self._settings.vectors, list(_used(self._settings).values()))
        if self.strays:
            yield Finding("temporaries", len(self.strays), str(self.strays[0]))

    def _advance(self, rows: int) -> None:
        self._check_stop()
        self._progress.advance(rows, 0)


def _used(settings: Settings) -> dict[int, ModelCard]:
    from db.sqlite.raw_connection import reading
    from db.vectors.check import used_models

    with reading(settings.database) as connection:
        return used_models(connection)
