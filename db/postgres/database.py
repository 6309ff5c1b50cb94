"""A library's database on a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from indexer.domain.errors import WriterBusy

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

    from db.postgres.maintenance import PostgresMaintenance
    from db.postgres.store import PostgresStore
    from indexer.domain.runs import WriterInfo

_WRITING_RUNS = """SELECT runs.pid, runs.started_at FROM runs JOIN pg_locks
    ON pg_locks.locktype = 'advisory' AND pg_locks.classid = :kind AND pg_locks.objid = CAST(runs.id AS oid)
    AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND pg_locks.granted
    WHERE runs.outcome = 'running' ORDER BY runs.id"""


class PostgresDatabase:
    """Implements `indexer.ports.database.Database`. Any number of processes write at the same time.

    SQLAlchemy and the driver are imported when they are needed.
    """

    def __init__(self, address: str, keep: bool = False) -> None:
        """`address` is that of `db.postgres.address.parse_address`.

        With `keep`, for servers, connections stay open from use to use until `close`. Raises UsageError and MissingExtra.
        """
        from db.postgres.address import parse_address, place_of

        self._url: URL = parse_address(address)
        self.place = f"the {place_of(self._url)}"
        self._kept: Engine | None = None
        if keep:
            from db.postgres.engine import open_engine

            self._kept = open_engine(self._url)

    def exists(self) -> bool:
        from db.postgres.migrations import exists

        with self._connection() as connection:
            return exists(connection)

    def version(self) -> object:
        with self._connection() as connection:
            return connection.exec_driver_sql("SELECT CAST(pg_current_snapshot() AS text)").scalar_one()

    @contextmanager
    def open(self, reading: bool = False) -> Iterator[PostgresStore]:
        from db.postgres.store import PostgresStore

        with self._engine() as engine, PostgresStore(engine) as store:
            yield store

    @contextmanager
    def lock_writer(self, wait: bool = True, admits_labels: bool = False) -> Iterator[None]:
        """Hold a lock that all writers share inside the `with` block. Raises WriterBusy while a transfer has it alone."""
        from sqlalchemy import Integer, cast, func, select

        from db.sql.locks import WRITERS

        number = cast(WRITERS, Integer), cast(0, Integer)
        with self._connection() as connection:
            if not connection.execute(select(func.pg_try_advisory_lock_shared(*number))).scalar_one():
                raise WriterBusy(f"A transfer of a library writes to {self.place}; wait for it.")
            connection.commit()
            try:
                yield
            finally:
                connection.execute(select(func.pg_advisory_unlock_shared(*number)))

    def lock_labels(self) -> AbstractContextManager[None]:
        return self.lock_writer()

    def current_writers(self) -> Sequence[WriterInfo]:
        from sqlalchemy import text

        from db.postgres.migrations import exists
        from db.sql.locks import RUNS
        from indexer.domain.runs import WriterInfo

        with self._connection() as connection:
            rows = connection.execute(text(_WRITING_RUNS), {"kind": RUNS}).all() if exists(connection) else []
        return [WriterInfo(pid, started_at) for pid, started_at in rows]

    @property
    def maintenance(self) -> PostgresMaintenance:
        from db.postgres.maintenance import PostgresMaintenance

        return PostgresMaintenance(self._url, self.place.removeprefix("the "))

    def close(self) -> None:
        """Close the connections that were kept."""
        if self._kept is not None:
            self._kept.dispose()

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self._engine() as engine, engine.connect() as connection:
            yield connection

    @contextmanager
    def _engine(self) -> Iterator[Engine]:
        from db.postgres.engine import open_engine
        from db.postgres.errors import translate_postgres_errors

        engine = self._kept or open_engine(self._url)
        try:
            with translate_postgres_errors(self.place.removeprefix("the ")):
                yield engine
        finally:
            if engine is not self._kept:
                engine.dispose()
