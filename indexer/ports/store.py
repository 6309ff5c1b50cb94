"""The truth, in both its halves."""

from __future__ import annotations

from typing import Protocol

from indexer.ports.store_reader import StoreReader
from indexer.ports.store_writer import StoreWriter


class Store(StoreWriter, StoreReader, Protocol):
    """The truth: files, pictures, models, predictions, embeddings, runs."""
