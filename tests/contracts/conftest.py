"""The store ports of every implementation, as fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.sql.tuning import StoreTuning
from db.sqlite.store import SqliteStore
from indexer.ports.store import Store
from tests.support.memory_store import MemoryStore
from tests.support.scene import Scene


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
    else:
        # Two rows for each transaction: tests with few rows then need several transactions.
        sqlite = SqliteStore(tmp_path / "moodex.sqlite", tuning=StoreTuning(delete_chunk_rows=2))
        yield sqlite
        sqlite.close()


@pytest.fixture
def scene(store: Store) -> Scene:
    return Scene(store)
