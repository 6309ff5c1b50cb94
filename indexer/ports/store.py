"""The truth, in both its halves."""

from __future__ import annotations

from typing import Protocol

from indexer.ports.catalog import Catalog
from indexer.ports.shelf import Shelf


class Store(Catalog, Shelf, Protocol):
    """The truth: files, pictures, models, predictions, embeddings, runs."""
