"""Connections to a PostgreSQL server."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Engine, NullPool, create_engine, event

_CONNECT_SECONDS = 10
_LARGEST_POOL = 32
"""Connections of one process at a time."""

READING = {"isolation_level": "REPEATABLE READ"}
"""The options of a connection whose transactions read from one snapshot."""


def open_engine(url: URL, keep: bool = True) -> Engine:
    """Return an engine for a database. It connects when it is used.

    With `keep`, connections are used again. Statements are not prepared on the server: poolers between moodex and the server may
    give each transaction another connection of theirs.
    """
    options: dict[str, Any] = {"pool_size": 8, "max_overflow": _LARGEST_POOL - 8, "pool_pre_ping": True} if keep else {}
    connect = {"prepare_threshold": None, "application_name": "moodex", "connect_timeout": _CONNECT_SECONDS}
    engine = create_engine(url, poolclass=None if keep else NullPool, connect_args=connect, **options)
    event.listen(engine, "connect", _configure)
    return engine


def _configure(connection: Any, _record: Any) -> None:
    """Plan for the sizes of libraries: compiling a query to machine code takes longer than to run it."""
    with connection.cursor() as cursor:
        cursor.execute("SET jit = off")
    connection.commit()
