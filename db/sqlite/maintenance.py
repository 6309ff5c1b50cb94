"""Checks, repairs and copies of the SQLite file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from db.sqlite import check, database_files
from db.sqlite.engine import open_engine
from db.sqlite.errors import translate_sqlite_errors
from db.sqlite.model_rows import used_cards
from db.sqlite.raw_connection import UNREADABLE, reading, require_intact, writing
from db.sqlite.repair import repair
from db.sqlite.salvage import salvage
from db.sqlite.store import SqliteStore
from db.vectors.check import check_vectors, orphan_files
from indexer.domain.health import Finding
from indexer.system.atomic import unique_backup_name

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.ports.maintenance import DigestOf


class SqliteMaintenance:
    """Implements `indexer.ports.maintenance.DatabaseMaintenance`."""

    is_file = True

    def __init__(self, path: Path, vectors: Path) -> None:
        """`path` is the database file, `vectors` the folder of the vector indexes that are derived from it."""
        self._path = path
        self._vectors = vectors

    def translate_errors(self) -> AbstractContextManager[None]:
        return translate_sqlite_errors(self._path)

    def count_rows(self) -> dict[str, int]:
        try:
            with reading(self._path) as connection:
                return check.count_rows(connection)
        except UNREADABLE:
            return {}

    def check(self, writer: int | None, check_stop: Callable[[], None], advance: Callable[[int], None]) -> Iterator[Finding]:
        try:
            with reading(self._path, check_stop) as connection:
                yield from check.examine(connection, writer, advance)
        except UNREADABLE as error:
            yield Finding("unreadable", 1, str(error))

    def check_vectors(self, check_stop: Callable[[], None], advance: Callable[[int], None]) -> Iterator[Finding]:
        with reading(self._path, check_stop) as connection:
            cards = used_cards(connection)
        engine = open_engine(self._path, reading=True)
        try:
            yield from check_vectors(engine, self._vectors, cards, advance)
        finally:
            engine.dispose()

    def orphan_files(self) -> list[Path]:
        return orphan_files(self._vectors, self.used_cards())

    def used_cards(self) -> list[ModelCard]:
        with reading(self._path) as connection:
            return list(used_cards(connection).values())

    def copy_aside(self, why: str) -> Path:
        saved = unique_backup_name(self._path, why)
        database_files.copy_aside(self._path, saved)
        return saved

    def repair_rows(self, cards: Mapping[str, ModelCard], digest_of: DigestOf, rebuild_indexes: bool) -> None:
        with writing(self._path) as connection:
            if rebuild_indexes:
                connection.execute("REINDEX")
            repair(connection, cards, digest_of, recovered=False)

    def salvage(self, cards: Mapping[str, ModelCard], digest_of: DigestOf, advance: Callable[[int], None]) -> Mapping[str, int]:
        new = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        try:
            rows = salvage(self._path, new, advance)
            SqliteStore(new).close()  # brings it up to date
            with writing(new) as connection:
                repair(connection, cards, digest_of, recovered=True)
            require_intact(new)
            database_files.replace_database(new, self._path)
        finally:
            self.remove_copy(new)
        return rows

    def copy_to(self, target: Path, advance: Callable[[int, int], None], check_stop: Callable[[], None]) -> dict[str, int]:
        database_files.copy_database(self._path, target, advance, check_stop)
        with reading(target) as connection:
            return check.count_rows(connection)

    def remove_copy(self, copy: Path) -> None:
        database_files.remove_database(copy)

    def check_copy(self, copy: Path) -> None:
        require_intact(copy)
        SqliteStore(copy).close()  # brings it up to date, and refuses a newer moodex's

    def replace_by(self, copy: Path) -> None:
        database_files.replace_live_database(copy, self._path)

    def holds(self, path: Path) -> bool:
        return path.resolve() == self._path.resolve()
