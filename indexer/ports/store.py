"""The store as a whole."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from indexer.ports.job_store import JobStore
from indexer.ports.store_reader import StoreReader
from indexer.ports.store_writer import StoreWriter


class Store(StoreWriter, StoreReader, JobStore, Protocol):
    """What indexing writes, what searching reads, and the schedule."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Let everything that is read in a `with` block be of one moment, even while another process commits."""
