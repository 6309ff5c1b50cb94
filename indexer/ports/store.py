"""The port for the whole store."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from indexer.ports.job_store import JobStore
from indexer.ports.store_reader import StoreReader
from indexer.ports.store_writer import StoreWriter


class Store(StoreWriter, StoreReader, JobStore, Protocol):
    """The store that indexing writes and searching reads, with the scheduled jobs."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Read from one snapshot inside a `with` block, even while another process commits."""
