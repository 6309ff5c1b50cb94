"""The port for a library's database: opening it, and its writer lock."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from indexer.domain.runs import WriterInfo
    from indexer.ports.maintenance import DatabaseMaintenance
    from indexer.ports.store import Store


class Database(Protocol):
    """A library's database. One process writes at a time, and users label in between; any number of processes read."""

    def exists(self) -> bool:
        """Return whether anything was ever stored."""

    def version(self) -> object:
        """Return a value that differs after every commit."""

    def open(self, reading: bool = False) -> AbstractContextManager[Store]:
        """Open the store; create or migrate it if needed. With `reading`, a read-only disk is enough.

        Inside the `with` block, errors of the database are raised as MoodexError, StoreDamaged or WriterBusy.
        """

    def lock_writer(self, wait: bool = True, admits_labels: bool = False) -> AbstractContextManager[None]:
        """Hold the writer lock inside the `with` block.

        Raises WriterBusy if another process keeps it; without `wait`, at once. Labels wait, too, unless it `admits_labels`: the
        holder must then allow that labels and hidden images change between its transactions.
        """

    def lock_labels(self) -> AbstractContextManager[None]:
        """Hold the lock of labels and hidden images inside the `with` block, for a moment, also during an index run.

        Raises WriterBusy if a writer that does not admit labels keeps it.
        """

    def current_writer(self) -> WriterInfo | None:
        """Return the process that holds the writer lock, if any."""

    @property
    def maintenance(self) -> DatabaseMaintenance | None:
        """Checks, repairs and copies; None for a database server that has its own tools."""
