"""The search of a vector index in the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.postgres.errors import sqlstate_of, translate_postgres_errors
from db.vectors.numpy_index import best_of_many, by_similarity, padded
from indexer.domain.errors import MoodexError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Row

    from indexer.domain.types import Doubles, Floats, Halves, Ids
    from indexer.ports.vectors import VectorFilter

MIN_INDEXED_ROWS = 5_000
"""Partitions with fewer rows have no index: all their vectors are compared, which takes milliseconds."""

_LEAST_CANDIDATES, _MOST_CANDIDATES = 100, 1_000
"""Bounds of HNSW's `ef_search`; pgvector allows no more."""

_COMPARED_AT_ONCE_ROWS = 20_000
"""In a smaller index, many queries are compared with all vectors in the memory of this process."""

_NO_TABLE = "42P01"


def partition_name(name: str, emotion: int) -> str:
    """Return the name of the partition of an emotion, given by its position, of an index."""
    return f"{name}_{emotion}"


@dataclass(frozen=True, slots=True)
class PostgresVectorIndex:
    """Implements `indexer.ports.vectors.VectorIndex` over the partitioned table `name` with `rows` rows."""

    engine: Engine
    name: str
    rows: int
    place: str

    @classmethod
    def read(cls, engine: Engine, connection: Connection, name: str, place: str) -> PostgresVectorIndex:
        """Return the index of a table."""
        rows = connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one()  # noqa: S608  # its name is made here
        return cls(engine, name, rows, place)

    def __len__(self) -> int:
        return self.rows

    def search(self, query: Floats, k: int, within: VectorFilter) -> tuple[Ids, Doubles]:
        with self._begin() as connection:
            if not within.exact and within.ids is None and k <= _MOST_CANDIDATES // 2:
                _choose_candidates(connection, k, within.min_score > 0)
                found = self._nearest(connection, query, k, within, "vector <#> CAST(:query AS halfvec)")
                if len(found[0]) == k:
                    return found
            # Fewer may be found because the index stops early. The expression cannot be read from it, so all are compared.
            return self._nearest(connection, query, k, within, "(vector <#> CAST(:query AS halfvec)) + 0")

    def nearest(self, queries: Floats, k: int) -> tuple[Ids, Floats]:
        if not len(queries) or not self.rows:
            return padded(np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32), k)
        with self._begin() as connection:
            if self.rows <= _COMPARED_AT_ONCE_ROWS:
                ids, vectors = self._all(connection, queries.shape[1])
                rows, similarities = best_of_many(vectors, queries, k)
                return padded(ids[rows], similarities, k)
            _choose_candidates(connection, k)
            return self._nearest_of_each(connection, queries, k)

    def _nearest(self, connection: Connection, query: Floats, k: int, within: VectorFilter, distance: str) -> tuple[Ids, Doubles]:
        conditions, values = ["score >= :least"], {"query": _literal(query), "least": np.float32(within.min_score).item(), "k": k}
        if within.emotions is not None:
            conditions.append("emotion = ANY(CAST(:emotions AS smallint[]))")
            values["emotions"] = sorted(within.emotions)
        if within.ids is not None:
            conditions.append("id = ANY(CAST(:ids AS bigint[]))")
            values["ids"] = within.ids.tolist()
        # Only constants and the name of the table are put into the statement.
        nearest = f"SELECT id, vector FROM {self.name} WHERE {' AND '.join(conditions)} ORDER BY {distance} LIMIT :k"  # noqa: S608
        statement = f"SELECT id, halfvec_send(vector) FROM ({nearest}) AS nearest ORDER BY id"  # noqa: S608
        return by_similarity(*_ids_and_vectors(connection.execute(text(statement), values).all(), len(query)), query)

    def _nearest_of_each(self, connection: Connection, queries: Floats, k: int) -> tuple[Ids, Floats]:
        statement = text(
            "SELECT asked.number, found.id, found.distance "  # noqa: S608  # the name of the table is made here
            "FROM unnest(CAST(:queries AS text[])) WITH ORDINALITY AS asked(query, number) CROSS JOIN LATERAL "
            f"(SELECT id, vector <#> CAST(asked.query AS halfvec) AS distance FROM {self.name} "
            "ORDER BY vector <#> CAST(asked.query AS halfvec) LIMIT :k) AS found ORDER BY asked.number, found.distance"
        )
        ids, similarities = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32)
        filled = np.zeros(len(queries), dtype=np.int64)
        for number, row_id, distance in connection.execute(statement, {"queries": [_literal(one) for one in queries], "k": k}):
            row, column = number - 1, filled[number - 1]
            ids[row, column], similarities[row, column] = row_id, -distance
            filled[row] += 1
        return ids, similarities

    def _all(self, connection: Connection, size: int) -> tuple[Ids, Halves]:
        statement = f"SELECT id, halfvec_send(vector) FROM {self.name} ORDER BY id"  # noqa: S608  # its name is made here
        return _ids_and_vectors(connection.exec_driver_sql(statement).all(), size)

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        try:
            with self.engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            if sqlstate_of(error) == _NO_TABLE:
                raise MoodexError("The vector index was replaced by another process; run the same command again.") from error
            with translate_postgres_errors(self.place):
                raise


def _ids_and_vectors(found: Sequence[Row[int, bytes]], size: int) -> tuple[Ids, Halves]:
    """Return ids, int64, (n,), and vectors as `halfvec_send` writes them, float16, (n, `size`)."""
    # Two numbers of 16 bits, the size and one that is not used, precede a vector.
    packed: Any = np.frombuffer(b"".join(vector for _, vector in found), dtype=">f2").reshape(len(found), 2 + size)
    return np.array([row_id for row_id, _ in found], dtype=np.int64), packed[:, 2:].astype(np.float16)


def _choose_candidates(connection: Connection, k: int, is_scored: bool = False) -> None:
    """Let the index read on until it has found enough rows that pass a filter: without, it returns too few.

    Rows with lower scores than a query asks for (`is_scored`) take the places of others, so it gets twice as many candidates.
    """
    candidates = min(_MOST_CANDIDATES, max(_LEAST_CANDIDATES, 4 * k) * (2 if is_scored else 1))
    connection.exec_driver_sql(
        f"SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', '{candidates}', true)"
    )


def _literal(vector: Floats) -> str:
    return "[" + ",".join(map(repr, vector.astype(np.float16).astype(float).tolist())) + "]"
