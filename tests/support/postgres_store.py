"""A PostgreSQL store in an empty database of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from db.postgres.store import PostgresStore
    from db.sql.tuning import StoreTuning


@contextmanager
def open_postgres(url: str, tuning: StoreTuning | None = None) -> Iterator[PostgresStore]:
    """Open a store, and close its connections at the end."""
    from db.postgres.address import parse_address
    from db.postgres.engine import open_engine
    from db.postgres.store import PostgresStore

    engine = open_engine(parse_address(url))
    try:
        with PostgresStore(engine, tuning) as store:
            yield store
    finally:
        engine.dispose()
