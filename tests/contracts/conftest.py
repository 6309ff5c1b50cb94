"""The store ports of every implementation, as fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.sql.tuning import StoreTuning
from db.sqlite.store import SqliteStore
from indexer.ports.store import Store
from tests.support.memory_store import MemoryStore
from tests.support.postgres_store import open_postgres
from tests.support.scene import Scene

# Two rows for each transaction: tests with few rows then need several transactions.
_TUNING = StoreTuning(delete_chunk_rows=2)


@pytest.fixture(params=["sqlite", "memory", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    match request.param:
        case "memory":
            yield MemoryStore()
        case "sqlite":
            with SqliteStore(tmp_path / "moodex.sqlite", tuning=_TUNING) as sqlite:
                yield sqlite
        case "postgresql":
            with open_postgres(request.getfixturevalue("postgres_url"), _TUNING) as postgres:
                yield postgres


@pytest.fixture
def scene(store: Store) -> Scene:
    return Scene(store)
