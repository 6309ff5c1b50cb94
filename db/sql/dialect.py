"""Differences between SQL dialects: upserts, hints for SQLite's planner, limits."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import ARRAY, Boolean, ColumnElement, Float, Integer, bindparam, func, insert, literal, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

if TYPE_CHECKING:
    from sqlalchemy import BindParameter, Connection, Insert, Table

T = TypeVar("T")
_CHUNK_PARAMETERS = 500
_MAX_INLINE_WORDS = 50
"""Lists of words up to this length are parameters of their own, for which SQLite plans best."""


def upsert(dialect: str, table: Table) -> sqlite.Insert:
    """Return an INSERT with `on_conflict_do_update` and `on_conflict_do_nothing`. `dialect` is "sqlite" or "postgresql"."""
    if dialect == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return cast(sqlite.Insert, postgresql.insert(table))  # it has the same methods


def insert_missing(dialect: str, table: Table) -> sqlite.Insert:
    """Return an INSERT that skips rows that are already there."""
    return upsert(dialect, table).on_conflict_do_nothing()


def insert_tuples(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    statement: Insert | None = None,
) -> None:
    """Insert rows, given as tuples of values for the driver. `columns` are in the order of the table.

    `statement` replaces the plain INSERT, for example by an upsert. For millions of rows: SQLAlchemy's own execution would handle
    every value, and take longer than everything else. PostgreSQL copies rows several times faster than it inserts them.
    """
    if statement is None and connection.dialect.name == "postgresql":
        _copy(connection, table, columns, rows)
        return
    chosen = insert(table) if statement is None else statement
    compiled = chosen.inline().compile(dialect=connection.dialect, column_keys=list(columns))
    named = rows if compiled.positional else [dict(zip(columns, row, strict=True)) for row in rows]
    connection.exec_driver_sql(str(compiled), named)


def upsert_many(connection: Connection, statement: sqlite.Insert, rows: Sequence[dict[str, Any]]) -> None:
    """Execute an upsert of rows with different keys.

    PostgreSQL gets each column as an array: it takes longer to read hundreds of parameters than to execute the statement.
    """
    if connection.dialect.name == "postgresql":
        columns = statement.table.columns
        arrays = [bindparam(name, [row[name] for row in rows], ARRAY(columns[name].type)) for name in rows[0]]
        names = list(rows[0])
        connection.execute(statement.from_select(names, select(func.unnest(*arrays).table_valued(*names).render_derived())))
    else:
        connection.execute(statement, rows)


def among(connection: Connection, column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """Select the rows with one of some values: for PostgreSQL, one parameter, for the same reason as in `upsert_many`."""
    if connection.dialect.name == "postgresql":
        return column == func.any(literal(values, ARRAY(column.type)))
    return column.in_(values)


def _copy(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    prepare = connection.dialect.identifier_preparer
    names = ", ".join(map(prepare.quote, columns))
    with (
        closing(connection.connection.cursor()) as cursor,
        cast(Any, cursor).copy(f"COPY {prepare.format_table(table)} ({names}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(row)


def chunks(values: Iterable[T]) -> Iterator[list[T]]:
    """Yield the values in lists of at most 500: SQLite limits the number of parameters of a statement."""
    iterator = iter(values)
    while chunk := list(islice(iterator, _CHUNK_PARAMETERS)):
        yield chunk


def one_of(column: ColumnElement[str], words: Collection[str]) -> ColumnElement[bool]:
    """Select the rows with one of some words, of which there may be any number: a long list is one parameter, as JSON."""
    chosen = sorted(words)
    return column.in_(chosen) if len(chosen) <= _MAX_INLINE_WORDS else _OneOf(column, literal(json.dumps(chosen)))


def no_index(column: ColumnElement[int] | ColumnElement[int | None]) -> ColumnElement[int]:
    """Keep SQLite from using an index on an integer column; in other dialects, the column itself.

    SQLite knows little of how values are distributed. It would, for instance, take an index by model, which lets every row of a
    library with one model through, and then sort. SQLite uses no index for an expression, so the column becomes `column + 0`.
    """
    return _NoIndex(column)


def inline(value: str | int) -> BindParameter[Any]:
    """Put a constant into the SQL itself, as a literal.

    SQLite uses a partial index only if the query's condition implies the index's, which it cannot see through a parameter.
    """
    return literal(value, literal_execute=True)


def greatest(*values: ColumnElement[float] | float) -> ColumnElement[float]:
    """Return the greatest of some values."""
    return _Greatest(*values)


class _OneOf(FunctionElement[bool]):
    name = "one_of"
    inherit_cache = True
    type = Boolean()


class _NoIndex(FunctionElement[int]):
    name = "no_index"
    inherit_cache = True
    type = Integer()


class _Greatest(FunctionElement[float]):
    name = "greatest"
    inherit_cache = True
    type = Float()


@compiles(_OneOf)
def _among_json_texts(element: _OneOf, compiler: Any, **options: Any) -> str:
    column, words = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} IN (SELECT json_array_elements_text(CAST({words} AS json)))"


@compiles(_OneOf, "sqlite")
def _among_json_values(element: _OneOf, compiler: Any, **options: Any) -> str:
    column, words = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({words}))"  # noqa: S608  # both are compiled


@compiles(_NoIndex)
def _column_itself(element: _NoIndex, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(_NoIndex, "sqlite")
def _column_plus_zero(element: _NoIndex, compiler: Any, **options: Any) -> str:
    return f"{compiler.process(element.clauses, **options)} + 0"


@compiles(_Greatest)
def _greatest(element: _Greatest, compiler: Any, **options: Any) -> str:
    return f"greatest({compiler.process(element.clauses, **options)})"


@compiles(_Greatest, "sqlite")
def _scalar_max(element: _Greatest, compiler: Any, **options: Any) -> str:
    return f"max({compiler.process(element.clauses, **options)})"
