"""Prepared statements return what SQLAlchemy returns, in the same transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Select, bindparam

from db.schema import FileRow
from db.sql import read_statements as statements
from db.sql.prepared import fetch
from db.sql.run_analyzers import PREDICTED_BY
from db.sql.search_queries import filter_conditions, hit_columns, model_without_index_hint
from db.sqlite.engine import open_engine
from db.sqlite.store import SqliteStore
from indexer.ports.store_reader import HitFilter
from tests.support.builders import image
from tests.support.scene import ANY, Scene

_FILTER = HitFilter(under=(b"/a", b"/b"), excluded=frozenset({"crying"}))
_HITS = (
    hit_columns()
    .where(model_without_index_hint(bindparam("model")), statements.THESE, *filter_conditions(_FILTER))
    .order_by(FileRow.id)
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(tmp_path / "moodex.sqlite") as store:
        scene = Scene(store)
        scene.add("one", b"/a/1.png", b"/b/copy.png")
        scene.add("two", b"/a/2.png", p=(0.1, 0.2, 0.7), seed=1)
        scene.add("three", b"/a/3.png", p=(0.1, 0.7, 0.2), seed=2)
        yield store


@pytest.mark.parametrize("ids", [[1], [3, 1, 2], [1, 99], [99]])
@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        (statements.VECTORS_OF, {}),
        (statements.FINGERPRINTS_OF, {}),
        (_HITS, {"model": 1}),
        (statements.LABELS_OF, {"model": 1}),
        (statements.LABELS_OF, {"model": 2}),
        (statements.NEWEST_GENERATION, {"model": 1}),
        (statements.MODELS, {}),
        (PREDICTED_BY, {"digest": image("two").digest}),
    ],
    ids=["vectors", "fingerprints", "hits", "labels", "unknown model", "generation", "models", "digest"],
)
def test_rows_are_those_of_sqlalchemy(
    store: SqliteStore, statement: Select[*tuple[Any, ...]], parameters: dict[str, int | bytes], ids: Sequence[int]
) -> None:
    own = ids if any(statement is one for one in (statements.VECTORS_OF, statements.FINGERPRINTS_OF, _HITS)) else []
    engine = open_engine(store.path)
    with engine.connect() as connection:
        expected = connection.execute(statement, {"ids": own, **parameters} if own else parameters).all()
        assert fetch(connection, statement, own, **parameters) == [tuple(row) for row in expected]
    engine.dispose()


def test_a_snapshot_that_begins_with_a_prepared_statement_sees_no_later_commit(store: SqliteStore) -> None:
    with SqliteStore(store.path) as reader, reader.snapshot():
        assert reader.vectors_of([4]) == {}
        Scene(store).add("four", b"/a/4.png", seed=3)
        assert reader.vectors_of([4]) == {} == reader.hits(1, [4], ANY)
        assert reader.image_count(1) == 3
    assert store.vectors_of([4]).keys() == store.hits(1, [4], ANY).keys() == {4}
