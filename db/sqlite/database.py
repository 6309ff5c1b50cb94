"""A library's database as one SQLite file in its data folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.errors import StoreDamaged

if TYPE_CHECKING:
    from db.sqlite.maintenance import SqliteMaintenance
    from db.sqlite.store import SqliteStore
    from indexer.domain.runs import WriterInfo


class SqliteDatabase:
    """Implements `indexer.ports.database.Database`.

    SQLAlchemy and the lock are imported when they are needed: commands that open nothing start in half the time.
    """

    def __init__(self, path: Path, vectors: Path) -> None:
        """`path` is the database file, `vectors` the folder of the vector indexes that are derived from it."""
        self._path = path
        self._vectors = vectors
        self.place = str(path.parent)

    def exists(self) -> bool:
        return self._path.exists()

    def version(self) -> object:
        stamps: list[tuple[int, int, int] | None] = []
        for path in (self._path, self._path.with_name(self._path.name + "-wal")):
            try:
                status = path.stat()
            except OSError:
                stamps.append(None)
            else:
                stamps.append((status.st_ino, status.st_size, status.st_mtime_ns))
        return tuple(stamps)

    @contextmanager
    def open(self, reading: bool = False) -> Iterator[SqliteStore]:
        from db.sqlite.errors import translate_sqlite_errors
        from db.sqlite.store import SqliteStore

        self._refuse_emptied()
        store = SqliteStore(self._path, reading)
        try:
            with translate_sqlite_errors(self._path):
                yield store
        finally:
            store.close()

    def lock_writer(self, wait: bool = True, admits_labels: bool = False) -> AbstractContextManager[None]:
        from db.writer_lock import writer_lock

        home = self._path.parent
        return writer_lock(home, admits_labels) if wait else writer_lock(home, admits_labels, patience=0)

    def lock_labels(self) -> AbstractContextManager[None]:
        from db.writer_lock import label_lock

        return label_lock(self._path.parent)

    def current_writers(self) -> Sequence[WriterInfo]:
        from db.writer_lock import writer

        holder = writer(self._path.parent)
        return [] if holder is None else [holder]

    @property
    def maintenance(self) -> SqliteMaintenance:
        from db.sqlite.maintenance import SqliteMaintenance

        return SqliteMaintenance(self._path, self._vectors)

    def _refuse_emptied(self) -> None:
        """Raise StoreDamaged for an empty database file next to vector indexes: SQLite would take it for a new one."""
        log = self._path.with_name(self._path.name + "-wal")
        if self._path.exists() and not self._path.stat().st_size and not log.exists() and self._vectors.is_dir():
            raise StoreDamaged(
                f"The database {self._path} is empty, although images were indexed here. Nothing was changed; bring back a "
                "backup with moodex restore, or remove the file and index again."
            )
