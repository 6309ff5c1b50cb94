"""The truth, in both its halves."""

from __future__ import annotations

from typing import Protocol

from indexer.ports.store_reader import Shelf
from indexer.ports.store_writer import Catalog


class Store(Catalog, Shelf, Protocol):
    """The truth: files, pictures, models, predictions, embeddings, runs."""
