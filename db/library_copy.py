"""The copy of a library between SQLite and PostgreSQL, table by table, in the order of ids."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from blake3 import blake3
from sqlalchemy import JSON, Column, Connection, MetaData, Table, Text, func, insert, inspect, select, text

from db.schema import METADATA, GenerationRow, PageAnchorRow, PredictionRow
from db.sql.dialect import insert_tuples
from indexer.domain.errors import UsageError
from indexer.ports.library_copy import TableFacts

if TYPE_CHECKING:
    from sqlalchemy import Engine

_CHUNK_ROWS = 5_000
_TRANSFERS = Table("transfers", MetaData(), Column("source", Text, nullable=False))
"""A table of the target while its copy is not complete: it names the source."""

_DERIVED = PageAnchorRow.table


class SqlLibraryCopy:
    """Implements `indexer.ports.library_copy.LibraryCopy` between two databases whose tables exist.

    A row keeps its id, so that the greatest id of a table tells how far its copy has come.
    """

    def __init__(self, source: Engine, target: Engine, name: str) -> None:
        """`name` is that of the source. Raises UsageError if the target holds anything but a beginning of its copy."""
        self._source, self._target = source, target
        self._begin(name)

    def count(self) -> int:
        with self._source.connect() as connection:
            return sum(connection.execute(select(func.count()).select_from(table)).scalar_one() for table in _tables())

    def copy(self, advance: Callable[[int], None]) -> None:
        with _snapshot(self._source) as source:
            for table in _tables():
                key = _key(table)
                with self._target.connect() as target:
                    after = target.execute(select(func.max(key))).scalar() or 0
                advance(source.execute(select(func.count()).select_from(table).where(key <= after)).scalar_one())
                for rows in _rows(source, table, after):
                    with self._target.begin() as target:
                        _insert(target, table, rows)
                    advance(len(rows))

    def describe(self, of_target: bool, advance: Callable[[int], None]) -> dict[str, TableFacts]:
        facts = {}
        with _snapshot(self._target if of_target else self._source) as connection:
            for table in _tables():
                hasher, count = blake3(), 0
                for rows in _rows(connection, table, 0):
                    for row in rows:
                        hasher.update(repr([_canonical(value) for value in row]).encode("utf-8", "surrogatepass"))
                    count += len(rows)
                    advance(len(rows))
                facts[table.name] = TableFacts(count, hasher.hexdigest())
        return facts

    def finish(self) -> None:
        with self._target.begin() as connection:
            _continue_ids(connection)
            _TRANSFERS.drop(connection)

    def _begin(self, name: str) -> None:
        with self._target.begin() as connection:
            if inspect(connection).has_table(_TRANSFERS.name):
                if connection.execute(select(_TRANSFERS.c.source)).scalars().all() != [name]:
                    raise UsageError("The target holds the beginning of a copy of another library; give an empty one.")
                return
            if any(connection.execute(select(_key(table)).limit(1)).first() is not None for table in _tables()):
                raise UsageError("The target already holds a library; give an empty one.")
            _TRANSFERS.create(connection)
            connection.execute(insert(_TRANSFERS).values(source=name))


def _tables() -> list[Table]:
    """Return the tables that hold data, each after those that it refers to."""
    return [table for table in METADATA.sorted_tables if table is not _DERIVED]


def _key(table: Table) -> Column[Any]:
    (key,) = table.primary_key.columns
    return key


@contextmanager
def _snapshot(engine: Engine) -> Iterator[Connection]:
    """Read from one transaction, whatever others commit."""
    options = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    with engine.connect().execution_options(**options) as connection:
        yield connection


def _rows(connection: Connection, table: Table, after: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of a table with keys above `after`, in chunks."""
    key = _key(table)
    position = list(table.columns).index(key)
    while True:
        found = connection.execute(select(table).where(key > after).order_by(key).limit(_CHUNK_ROWS)).all()
        if not found:
            return
        yield [tuple(row) for row in found]
        after = found[-1][position]


def _insert(connection: Connection, table: Table, rows: list[tuple[Any, ...]]) -> None:
    names = table.columns.keys()
    if any(isinstance(column.type, JSON) for column in table.columns):
        connection.execute(insert(table), [dict(zip(names, row, strict=True)) for row in rows])
    else:
        insert_tuples(connection, table, names, rows)


def _canonical(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, (dict, list)) else value


def _continue_ids(connection: Connection) -> None:
    """Let new rows get ids above those of the copy; those of predictions above all that the library ever had."""
    last = select(func.max(GenerationRow.last_prediction_id)).scalar_subquery()
    for table in _tables():
        if "id" not in table.columns:
            continue
        greatest = connection.execute(select(func.max(table.c.id))).scalar() or 0
        if table is PredictionRow.table:
            greatest = max(greatest, connection.execute(select(last)).scalar() or 0)
        if connection.dialect.name == "postgresql":
            sequence = func.pg_get_serial_sequence(table.name, "id")
            connection.execute(select(func.setval(sequence, max(greatest, 1), greatest > 0)))
        elif table is PredictionRow.table:
            connection.execute(text("DELETE FROM sqlite_sequence WHERE name = 'predictions'"))
            connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES ('predictions', :last)"), {"last": greatest})
