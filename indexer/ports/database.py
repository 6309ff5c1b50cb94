"""The database that holds a library's store, and who may write to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from indexer.domain.export import ExportChunk, ExportFilter
    from indexer.domain.models import StoredModel
    from indexer.domain.runs import WriterInfo
    from indexer.ports.maintenance import DatabaseMaintenance
    from indexer.ports.store import Store


class Database(Protocol):
    """A library's database: one process writes at a time, and any number of processes read meanwhile."""

    def exists(self) -> bool:
        """Return whether anything was ever stored."""

    def open(self, reading: bool = False) -> AbstractContextManager[Store]:
        """Open the store, which is created or migrated as needed; a read-only disk is enough for `reading`.

        Inside the `with` block, errors of the database itself are raised as MoodexError, StoreDamaged or WriterBusy.
        """

    def lock_writer(self, wait: bool = True) -> AbstractContextManager[None]:
        """Be the only writer inside the `with` block. Raises WriterBusy, at once unless `wait`, if another process is."""

    def current_writer(self) -> WriterInfo | None:
        """Return which process holds the writer lock, if any."""

    def export_rows(
        self, model: StoredModel, chosen: ExportFilter, check_stop: Callable[[], None]
    ) -> AbstractContextManager[Iterator[ExportChunk]]:
        """Read the rows of an export, by file and then by region, as they are at one moment."""

    @property
    def maintenance(self) -> DatabaseMaintenance | None:
        """Checks, repairs and copies; None for a database whose server has tools of its own."""
