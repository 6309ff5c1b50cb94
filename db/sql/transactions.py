"""Transactions that write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

WRITING = "moodex_writing"
"""The execution option of connections whose transactions write."""


@contextmanager
def connect_for_writing(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that writes; it is committed at the end of the `with` block, or rolled back by an error.

    In SQLite, it has the lock of the database from its beginning. One that read first and asked for the lock later would fail if
    another process, such as one that labels images, committed in between.
    """
    with engine.connect().execution_options(**{WRITING: True}) as connection, connection.begin():
        yield connection
