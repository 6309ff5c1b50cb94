"""PostgreSQL's errors as errors of moodex, with one sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from indexer.domain.errors import MAKE_ROOM, MoodexError, ReadersBusy, StoreDamaged, WriterBusy

RETRIED_STATES = frozenset({"40001", "40P01"})
"""SQLSTATEs of transactions that other writers stopped: a snapshot that is too old, and a deadlock."""

_DISK_FULL, _NO_RIGHT, _READ_ONLY = "53100", "42501", "25006"
_DAMAGE_CLASSES = ("23", "XX")
"""Classes of SQLSTATEs that mean damage: moodex writes nothing that breaks a constraint."""

_MISSING_STATES = ("42P01", "42703")


def sqlstate_of(error: DBAPIError) -> str:
    """Return the SQLSTATE of an error; "" without one, for example if the server cannot be reached."""
    return getattr(error.orig, "sqlstate", None) or ""


@contextmanager
def translate_postgres_errors(place: str) -> Iterator[None]:
    """Turn errors about a database, whose name is `place`, into StoreDamaged, WriterBusy or another MoodexError."""
    try:
        yield
    except PoolTimeout as error:
        raise ReadersBusy("Too many requests read the library at the moment; try again.") from error
    except DBAPIError as error:
        raise _explained(place, sqlstate_of(error), " ".join(str(error.orig).split("\n")[0].split())) from error


def _explained(place: str, state: str, reason: str) -> MoodexError:
    if state in RETRIED_STATES:
        return WriterBusy(f"Other processes write to the {place} all the time; run the same command again.")
    if state == _DISK_FULL:
        return MoodexError(f"The {place} cannot be written to: the disk of the server is full. {MAKE_ROOM}")
    if state in (_NO_RIGHT, _READ_ONLY):
        return MoodexError(f"The {place} refused the request: {reason}. Give the user of the database the right to do this.")
    if state in _MISSING_STATES:
        return StoreDamaged(f"The {place} lacks a table or column of moodex: {reason}. Restore it with the tools of the server.")
    if state[:2] in _DAMAGE_CLASSES:
        return StoreDamaged(f"The {place} is damaged: {reason}. Restore it with the tools of the server.")
    return MoodexError(f"The {place} cannot be used: {reason}. Check the server and the address of --store.")
