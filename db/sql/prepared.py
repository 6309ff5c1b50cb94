"""SELECTs that every search or every file executes: for SQLite, compiled once and executed by the driver.

SQLAlchemy spends more time on executing such a statement, even a compiled one, than SQLite on answering it. Beside the way to a
server that time is small: there, SQLAlchemy executes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy.dialects import sqlite

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Select

_DIALECT = sqlite.dialect()


class _Compiled(NamedTuple):
    """A statement as the driver executes it.

    `names` are its parameters in order; `values` those that the statement itself gives. `ids` are the names of the ids of a list.
    `processors` turn the values of each column into those of its type; None where they are the same.
    """

    text: str
    names: Sequence[str]
    values: Mapping[str, Any]
    ids: Sequence[str]
    processors: Sequence[Callable[[Any], Any] | None]


def fetch(
    connection: Connection, statement: Select[*tuple[Any, ...]], ids: Sequence[int] = (), **values: int | bytes
) -> list[tuple[Any, ...]]:
    """Return the rows of a statement. `ids` are the values of its parameter `ids`, `values` those of its other parameters.

    The statement must be a constant, or cached: it is compiled once for every number of ids. Raises errors of sqlite3, or
    SQLAlchemy's for a server.
    """
    if connection.dialect.name != _DIALECT.name:
        return [tuple(row) for row in connection.execute(statement, {**values, "ids": list(ids)} if ids else values)]
    compiled = _compiled(statement, len(ids), tuple(values))
    given = {**compiled.values, **values, **dict(zip(compiled.ids, ids, strict=True))}
    driver: Any = connection.connection.driver_connection
    if not driver.in_transaction:
        driver.execute("BEGIN DEFERRED")  # SQLAlchemy takes longer for that than for the statement; closing ends it all the same
    rows: list[tuple[Any, ...]] = driver.execute(compiled.text, [given[name] for name in compiled.names]).fetchall()
    if not rows or not any(compiled.processors):
        return rows
    columns = zip(compiled.processors, zip(*rows, strict=True), strict=True)
    return list(zip(*(column if process is None else map(process, column) for process, column in columns), strict=True))


@lru_cache(maxsize=256)
def _compiled(statement: Select[*tuple[Any, ...]], id_count: int, parameters: tuple[str, ...]) -> _Compiled:
    examples = dict.fromkeys(parameters, 0) | ({"ids": list(range(id_count))} if id_count else {})
    expanded = statement.compile(dialect=_DIALECT).construct_expanded_state(examples)
    values = {
        name: expanded.processors[name](value) if name in expanded.processors else value
        for name, value in expanded.parameters.items()
        if name not in parameters
    }
    types = [column.type.dialect_impl(_DIALECT) for column in statement.selected_columns]
    return _Compiled(
        expanded.statement,
        expanded.positiontup or (),
        values,
        expanded.parameter_expansion.get("ids", ()),
        [kind.result_processor(_DIALECT, None) for kind in types],
    )
