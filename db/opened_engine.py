"""A database by the name that a user gives it, for a copy of all of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.errors import NotIndexed, UsageError, WriterBusy, disk_error

if TYPE_CHECKING:
    from sqlalchemy import Engine

_FILE = "sqlite:"
_SERVER = ("postgresql://", "postgres://")


@contextmanager
def opened_engine(name: str, is_new: bool) -> Iterator[tuple[str, Engine]]:
    """Yield the name of a store without its password, and an engine for it, whose tables are up to date. No other process writes.

    Raises UsageError for a name of another form, NotIndexed unless it exists or `is_new`, and WriterBusy.
    """
    if name.startswith(_SERVER):
        with _server(name, is_new) as opened:
            yield opened
    elif name.startswith(_FILE) and name != _FILE:
        with _file(Path(name.removeprefix(_FILE)).absolute(), is_new) as opened:
            yield opened
    else:
        raise UsageError(f"A store is sqlite:FILE or postgresql://USER@HOST/DATABASE, not {name.split(':', maxsplit=1)[0]!r}.")


@contextmanager
def _file(path: Path, is_new: bool) -> Iterator[tuple[str, Engine]]:
    from db.sqlite.engine import open_engine
    from db.sqlite.errors import translate_sqlite_errors
    from db.writer_lock import writer_lock

    if not is_new and not path.exists():
        raise NotIndexed(f"There is no library at {path}; give the file moodex.sqlite of a data folder.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(f"The folder {path.parent}", error) from error
    with writer_lock(path.parent), translate_sqlite_errors(path):
        engine = open_engine(path)
        try:
            yield str(path), engine
        finally:
            engine.dispose()


@contextmanager
def _server(address: str, is_new: bool) -> Iterator[tuple[str, Engine]]:
    from sqlalchemy import Integer, cast, func, select

    from db.postgres.address import parse_address, place_of
    from db.postgres.engine import open_engine
    from db.postgres.errors import translate_postgres_errors
    from db.postgres.migrations import exists, migrate
    from db.sql.locks import WRITERS

    url = parse_address(address)
    place = place_of(url)
    engine = open_engine(url)
    try:
        with translate_postgres_errors(place), engine.connect() as lock:
            if not is_new and not exists(lock):
                raise NotIndexed(f"There is no library in the {place}.")
            if not lock.execute(select(func.pg_try_advisory_lock(cast(WRITERS, Integer), cast(0, Integer)))).scalar_one():
                raise WriterBusy(f"Another moodex writes to the {place}; wait for it or stop it.")
            lock.commit()
            try:
                with engine.begin() as connection:
                    migrate(connection)
                yield place, engine
            finally:
                lock.execute(select(func.pg_advisory_unlock(cast(WRITERS, Integer), cast(0, Integer))))
    finally:
        engine.dispose()
