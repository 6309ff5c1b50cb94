"""Values that moodex never writes are reported as damage by the code that unpacks rows."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from indexer.domain.errors import StoreDamaged

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_UNPACK_ERRORS = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, struct.error)
"""Errors that Python raises for a value of the wrong type, size or form."""


@contextmanager
def unpacking(database: str) -> Iterator[None]:
    """Raise StoreDamaged, naming the database, where a row cannot be unpacked.

    Use it only around code that fetches and unpacks rows: it reports every such error as damage.
    """
    try:
        yield
    except _UNPACK_ERRORS as error:
        raise StoreDamaged(
            f"The database {database} holds values that moodex never writes ({error}); see what can be saved: "
            "moodex doctor --repair"
        ) from error


@contextmanager
def connect_for_reading(engine: Engine) -> Iterator[Connection]:
    """Open a connection whose rows are unpacked inside."""
    with engine.connect() as connection, unpacking_from(connection):
        yield connection


def unpacking_from(connection: Connection) -> AbstractContextManager[None]:
    """Return `unpacking` for the database of a connection."""
    return unpacking(str(connection.engine.url.database))
