"""Vector indexes in the database: a table for each model, with a partition and an HNSW index for each emotion.

One index over all emotions would search most of its vectors in vain where few images have the wanted emotion. The rows are those
of `indexer.ports.vectors.VectorRows`, copied in one piece; the indexes are built after them, which takes a fraction of the time
of adding each row to an index (Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical
Navigable Small World graphs", 2016).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from sqlalchemy import Connection, Row, text

from db.postgres.address import parse_address, place_of
from db.postgres.engine import open_engine
from db.postgres.errors import translate_postgres_errors
from db.postgres.vector_index import MIN_INDEXED_ROWS, PostgresVectorIndex, partition_name
from db.sql.locks import VECTORS, lock_until_end
from db.vectors.layout import in_portions
from db.vectors.numpy_index import NumpyVectors
from indexer.domain.models import APPEARANCE
from indexer.ports.vectors import Generation, Segment, VectorRows

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from indexer.domain.models import ModelCard
    from indexer.ports.vectors import VectorIndex

_COPY_CHUNK_ROWS = 8192
_COPY_HEADER, _COPY_END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
_LINKS, _BUILD_CANDIDATES = 16, 128
"""HNSW's `m` and `ef_construction`."""


class PostgresVectors:
    """Implements `indexer.ports.vectors.VectorStorage` in the database of the store.

    A model has one segment. New rows are added to its table; if there are many, the table is made again.
    """

    def __init__(self, address: str, keep: bool = False) -> None:
        """`address` is that of the store. With `keep`, connections stay open from use to use."""
        url = parse_address(address)
        self._place = place_of(url)
        self._engine: Engine = open_engine(url, keep)

    def load(self, card: ModelCard) -> list[Segment]:
        with self._begin() as connection:
            found = _stored(connection, card)
            if found is None:
                return []
            index = PostgresVectorIndex.read(self._engine, connection, found.name, self._place)
        return [Segment(index, Generation(found.last_id, found.token))]

    def save(
        self, card: ModelCard, kept: Sequence[Segment], rows: VectorRows | Iterable[VectorRows], generation: Generation
    ) -> None:
        appearance = card.space_slice(APPEARANCE)
        size = appearance.stop - appearance.start
        with self._begin() as connection:
            lock_until_end(connection, VECTORS)
            stored = _stored(connection, card)
            if kept and (stored is None or Generation(stored.last_id, stored.token) != kept[-1].generation):
                return  # another process has brought the index up to date since
            if kept and stored is not None:
                name = stored.name
            else:
                name = f"vectors_{card.key[:16]}_{generation.token[:8]}"
                _create_table(connection, name, size)
            emotions: set[int] = set()
            for portion in in_portions(rows):
                for emotion in set(np.unique(portion.emotions).tolist()) - emotions:
                    _create_partition(connection, name, emotion)
                    emotions.add(emotion)
                _copy_rows(connection, name, portion)
            for emotion in sorted(emotions):
                _index_if_large(connection, name, emotion, size)
            connection.execute(
                text(
                    "INSERT INTO vector_indexes (model_key, name, last_id, token) VALUES (:key, :name, :last, :token) "
                    "ON CONFLICT (model_key) DO UPDATE SET name = :name, last_id = :last, token = :token"
                ),
                {"key": card.key, "name": name, "last": generation.last_id, "token": generation.token},
            )
            if stored is not None and stored.name != name:
                connection.exec_driver_sql(f"DROP TABLE {stored.name}")  # at the end: until then, others search it
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"ANALYZE {name}")

    def delete(self, card: ModelCard) -> None:
        with self._begin() as connection:
            lock_until_end(connection, VECTORS)
            delete = text("DELETE FROM vector_indexes WHERE model_key = :key RETURNING name")
            for name in connection.execute(delete, {"key": card.key}).scalars().all():
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")

    def over(self, rows: VectorRows) -> VectorIndex:
        return NumpyVectors(rows)

    def close(self) -> None:
        """Close the connections that were kept."""
        self._engine.dispose()

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        with translate_postgres_errors(self._place), self._engine.begin() as connection:
            yield connection


def _stored(connection: Connection, card: ModelCard) -> Row[Any] | None:
    """Return the table, the last id and the token of a model's index, if there is one."""
    query = text("SELECT name, last_id, token FROM vector_indexes WHERE model_key = :key")
    return connection.execute(query, {"key": card.key}).first()


def _create_table(connection: Connection, name: str, size: int) -> None:
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
    connection.exec_driver_sql(
        f"CREATE TABLE {name} (id BIGINT NOT NULL, emotion SMALLINT NOT NULL, score REAL NOT NULL, "
        f"vector halfvec({size}) NOT NULL, "
        "PRIMARY KEY (id, emotion)) PARTITION BY LIST (emotion)"
    )


def _create_partition(connection: Connection, name: str, emotion: int) -> None:
    part = partition_name(name, emotion)
    connection.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS {part} PARTITION OF {name} FOR VALUES IN ({emotion})")
    # Vectors stay in the rows: half of a page holds one.
    connection.exec_driver_sql(f"ALTER TABLE {part} ALTER COLUMN vector SET STORAGE PLAIN")


def _index_if_large(connection: Connection, name: str, emotion: int, size: int) -> None:
    """Build the index of a partition with many rows, unless it has one."""
    part = partition_name(name, emotion)
    rows = connection.exec_driver_sql(f"SELECT count(*) FROM {part}").scalar_one()  # noqa: S608  # its name is made here
    if rows >= MIN_INDEXED_ROWS:
        memory = min(2_000, 64 + rows * (2 * size + 300) // 1_000_000)
        connection.exec_driver_sql(f"SET LOCAL maintenance_work_mem = '{memory}MB'")
        connection.exec_driver_sql(
            f"CREATE INDEX IF NOT EXISTS {part}_hnsw ON {part} USING hnsw (vector halfvec_ip_ops) "
            f"WITH (m = {_LINKS}, ef_construction = {_BUILD_CANDIDATES})"
        )


def _copy_rows(connection: Connection, name: str, rows: VectorRows) -> None:
    """Copy rows in PostgreSQL's binary format: fields in network byte order, each after its length."""
    size = rows.vectors.shape[1]
    kinds: list[tuple[Any, ...]] = [
        ("fields", ">i2"), ("id_bytes", ">i4"), ("id", ">i8"), ("emotion_bytes", ">i4"), ("emotion", ">i2"),
        ("score_bytes", ">i4"), ("score", ">f4"), ("vector_bytes", ">i4"), ("size", ">i2"), ("unused", ">i2"),
        ("vector", ">f2", (size,)),
    ]  # fmt: skip
    with (
        closing(connection.connection.cursor()) as cursor,
        cast(Any, cursor).copy(f"COPY {name} (id, emotion, score, vector) FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.write(_COPY_HEADER)
        for start in range(0, len(rows.ids), _COPY_CHUNK_ROWS):
            some = slice(start, start + _COPY_CHUNK_ROWS)
            chunk = np.zeros(len(rows.ids[some]), dtype=kinds)
            chunk["fields"], chunk["id_bytes"], chunk["emotion_bytes"], chunk["score_bytes"] = 4, 8, 2, 4
            chunk["vector_bytes"], chunk["size"] = 4 + 2 * size, size
            chunk["id"], chunk["emotion"], chunk["score"] = rows.ids[some], rows.emotions[some], rows.scores[some]
            chunk["vector"] = rows.vectors[some]
            copy.write(chunk.tobytes())
        copy.write(_COPY_END)
