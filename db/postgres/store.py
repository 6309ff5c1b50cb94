"""The PostgreSQL store: reader, writer and scheduled jobs in one object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db.postgres.engine import READING
from db.postgres.migrations import is_current, migrate
from db.postgres.writer import PostgresWriter
from db.sql.jobs import SqlJobs
from db.sql.reader import SqlReader
from db.sql.tuning import DEFAULT_TUNING, StoreTuning

if TYPE_CHECKING:
    from sqlalchemy import Engine


class PostgresStore(PostgresWriter, SqlReader, SqlJobs):
    """Implements `indexer.ports.store.Store` over one database of a server."""

    def __init__(self, engine: Engine, tuning: StoreTuning | None = None) -> None:
        """Open, create or migrate the database of an engine. Raises what `migrate` raises."""
        with engine.connect() as connection:
            current = is_current(connection)
        if not current:
            with engine.begin() as connection:
                migrate(connection)
        PostgresWriter.__init__(self, engine, tuning or DEFAULT_TUNING)
        SqlReader.__init__(self, engine.execution_options(**READING))
        SqlJobs.__init__(self, engine)

    def __enter__(self) -> PostgresStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up the lock of a run that did not end. The connections belong to the engine."""
        self.release_run()
