"""The port for a library's database: opening it, and its writer lock."""

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
    """A library's database. One process writes at a time; any number of processes read at the same time."""

    def exists(self) -> bool:
        """Return whether anything was ever stored."""

    def open(self, reading: bool = False) -> AbstractContextManager[Store]:
        """Open the store; create or migrate it if needed. With `reading`, a read-only disk is enough.

        Inside the `with` block, errors of the database are raised as MoodexError, StoreDamaged or WriterBusy.
        """

    def lock_writer(self, wait: bool = True) -> AbstractContextManager[None]:
        """Hold the writer lock inside the `with` block.

        Raises WriterBusy if another process keeps it; without `wait`, at once.
        """

    def current_writer(self) -> WriterInfo | None:
        """Return the process that holds the writer lock, if any."""

    def export_rows(
        self, model: StoredModel, chosen: ExportFilter, check_stop: Callable[[], None]
    ) -> AbstractContextManager[Iterator[ExportChunk]]:
        """Read the rows of an export from one snapshot, by file and then by region."""

    @property
    def maintenance(self) -> DatabaseMaintenance | None:
        """Checks, repairs and copies; None for a database server that has its own tools."""
