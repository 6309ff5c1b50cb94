"""Every implementation of the store ports."""

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
        # So few rows for each transaction that contracts about many rows take several.
        sqlite = SqliteStore(tmp_path / "moodex.sqlite", tuning=StoreTuning(delete_chunk_rows=2))
        yield sqlite
        sqlite.close()


@pytest.fixture
def scene(store: Store) -> Scene:
    return Scene(store)
