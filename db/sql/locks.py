"""Locks of a database that several processes write to at the same time. SQLite has one writer, and needs none of them."""

from __future__ import annotations

from sqlalchemy import Connection, Integer, cast, func, select

PREDICTIONS, RUNS, WRITERS, MIGRATIONS, VECTORS = range(25_001, 25_006)
"""The first number of the advisory locks of PostgreSQL, by the kind of what they protect; the second one is its id."""


def lock_predictions(connection: Connection, model_id: int) -> None:
    """Let no other transaction add predictions of a model until this one ends.

    A reader takes a greater id as newer. Without the lock, a transaction that took its ids first could commit last.
    """
    lock_until_end(connection, PREDICTIONS, model_id)


def lock_until_end(connection: Connection, kind: int, number: int = 0) -> None:
    """Wait for an advisory lock, which the end of the transaction releases."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(cast(kind, Integer), cast(number, Integer))))
