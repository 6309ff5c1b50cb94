"""The composition root of the command that checks a data folder and mends it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.bootstrap import cores, model_registry, need_database, open_store
from indexer.domain.errors import ForeignDatabase, StoreDamaged, disk_error
from indexer.domain.health import CheckReport, DoctorReport, Finding, IndexedFile, Repair
from indexer.system.signals import graceful_stop

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.ports.progress import Progress
    from indexer.settings import Settings

_RUNS = 1000
"""How many runs are looked at for one that died."""


def doctor(settings: Settings, deep: bool, repair: bool, progress: Progress) -> DoctorReport:
    """Look for what is wrong with a data folder and, if wanted, mend what can be. Without a repair, only reads, whoever writes;
    but an older schema is brought up to date, as by every command.

    Raises NotIndexed, WriterBusy where a repair meets a writer, StoreDamaged where nothing at all can be read for a repair or the
    database is another program's.
    """
    from db.sqlite.engine import translate_sqlite_errors
    from db.writer_lock import writer, writer_lock

    need_database(settings)
    if not repair:
        with graceful_stop("nothing was changed") as check_stop, translate_sqlite_errors(settings.database):
            holder = writer(settings.home)
            look = _IntegrityCheck(settings, None if holder is None else holder.pid, progress, check_stop)
            return DoctorReport(settings.home, look.run(deep))
    with (
        writer_lock(settings.home),
        graceful_stop("what was mended stays so; the same command goes on from there") as check_stop,
        _writable(settings.home),
        translate_sqlite_errors(settings.database),
    ):
        look = _IntegrityCheck(settings, None, progress, check_stop)
        found = look.run(deep)
        if not any(one.about.mended for one in found.findings):
            return DoctorReport(settings.home, found)
        saved, recovered = _repair(settings, look, found, progress)
        return DoctorReport(settings.home, found, Repair(saved, recovered, look.run(False)))


class _IntegrityCheck:
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


def _repair(
    settings: Settings, look: _IntegrityCheck, found: CheckReport, progress: Progress
) -> tuple[Path | None, Mapping[str, int] | None]:
    """Mend what was found; the copy of the database from before, and the rows of each table where it was written anew."""
    from db.sqlite.database_files import copy_aside, unique_backup_name

    saved, recovered = None, None
    if any(one.about.mended and not one.about.derived for one in found.findings):
        saved = unique_backup_name(settings.database, "before-repair")
        copy_aside(settings.database, saved)
        if found.of("unreadable", "pages"):
            recovered = _salvage(settings, sum(found.rows.values()), progress)
        else:
            _repair_rows(settings, settings.database, found.of("indexes"), False)
        if look.rotten:
            from db.sqlite.file_checks import requeue_files

            requeue_files(settings.database, look.rotten)
    for path in look.strays:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    _repair_vectors(settings, everything=recovered is not None or found.of("vectors_damaged", "vectors_wrong"))
    return saved, recovered


def _salvage(settings: Settings, rows: int, progress: Progress) -> Mapping[str, int]:
    from db.sqlite.database_files import remove_database, replace_database
    from db.sqlite.raw_connection import require_intact
    from db.sqlite.salvage import salvage

    new = settings.home / f".{settings.database.name}.{os.getpid()}.tmp"
    try:
        progress.start(rows)
        counts = salvage(settings.database, new, lambda rows: progress.advance(rows, 0))
        _repair_rows(settings, new, False, True)
        require_intact(new)
        replace_database(new, settings.database)
    finally:
        progress.finish()
        remove_database(new)
    return counts


def _repair_rows(settings: Settings, database: Path, indexes: bool, recovered: bool) -> None:
    from db.sqlite.raw_connection import writing
    from db.sqlite.repair import repair
    from db.sqlite.store import SqliteStore
    from indexer.maintenance.file_check import digest_of

    if recovered:
        SqliteStore(database).close()  # brings it up to date
    cards = {card.key: card for _, card in model_registry(settings).cards()}
    with writing(database) as connection:
        if indexes:
            connection.execute("REINDEX")
        repair(connection, cards, digest_of, recovered)


def _repair_vectors(settings: Settings, everything: bool) -> None:
    """Make the kept vector indexes current; all of them anew where `everything` is."""
    from db.sqlite.store import SqliteStore
    from db.vectors.files import FaissFiles
    from db.vectors.sync import sync_index

    files = FaissFiles(settings.vectors)
    with SqliteStore(settings.database) as store:
        for model in store.models():
            if everything:
                files.forget(model.card)
            if model.used:
                sync_index(store, files, model)


@contextmanager
def _writable(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(f"The data folder {home}", error) from error


def _used(settings: Settings) -> dict[int, ModelCard]:
    from db.sqlite.raw_connection import reading
    from db.vectors.check import used_models

    with reading(settings.database) as connection:
        return used_models(connection)
