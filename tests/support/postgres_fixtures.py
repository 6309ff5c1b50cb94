"""The fixtures of tests that need a PostgreSQL server. One server serves all tests of a process; each test has a database."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.postgres_server import missing_reason, new_database, postgres_server, remove_rows

_GIVEN_SERVER = "TEST_POSTGRES_URL"
"""The URL of a server that runs already, for a developer who repeats a test."""


@pytest.fixture(scope="session")
def postgres_server_url() -> Iterator[str]:
    """The URL of a server, whose user may create databases."""
    if (reason := missing_reason()) is not None:
        pytest.skip(f"no PostgreSQL: {reason}; install moodex[dev]")
    if given := os.environ.get(_GIVEN_SERVER):
        yield given
        return
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def _shared_database(postgres_server_url: str) -> Iterator[str]:
    with new_database(postgres_server_url, f"test_{os.getpid()}") as url:
        yield url


@pytest.fixture
def postgres_url(_shared_database: str) -> Iterator[str]:
    """The URL of a database without rows. Its tables stay from test to test: making them takes longer than most tests."""
    yield _shared_database
    remove_rows(_shared_database)


@pytest.fixture
def empty_postgres_url(postgres_server_url: str) -> Iterator[str]:
    """The URL of a database without tables."""
    with new_database(postgres_server_url, f"empty_{os.getpid()}") as url:
        yield url
