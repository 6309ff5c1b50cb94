"""The port for a library's database: opening it, and its writer lock."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from indexer.domain.runs import WriterInfo
    from indexer.ports.maintenance import DatabaseMaintenance
    from indexer.ports.store import Store


class Database(Protocol):
    """A library's database. Any number of processes read at the same time.

    One process writes at a time to a database in a file, and users label in between; any number write to one on a server. `place`
    is the data folder or the database on a server, as messages name it.
    """

    place: str

    def exists(self) -> bool:
        """Return whether anything was ever stored."""

    def version(self) -> object:
        """Return a value that differs after every commit."""

    def open(self, reading: bool = False) -> AbstractContextManager[Store]:
        """Open the store; create or migrate it if needed. With `reading`, a read-only disk is enough.

        Inside the `with` block, errors of the database are raised as MoodexError, StoreDamaged or WriterBusy.
        """

    def lock_writer(self, wait: bool = True, admits_labels: bool = False) -> AbstractContextManager[None]:
        """Hold the writer lock inside the `with` block. On a server, writers share it.

        Raises WriterBusy if another process keeps it; without `wait`, at once. Labels wait, too, unless it `admits_labels`: the
        holder must then allow that labels and hidden images change between its transactions.
        """

    def lock_labels(self) -> AbstractContextManager[None]:
        """Hold the lock of labels and hidden images inside the `with` block, for a moment, also during an index run.

        Raises WriterBusy if a writer that does not admit labels keeps it.
        """

    def current_writers(self) -> Sequence[WriterInfo]:
        """Return the processes that write now: of a database in a file, the one that holds the writer lock, if any."""

    @property
    def maintenance(self) -> DatabaseMaintenance | None:
        """Checks, repairs and copies; None for a database in memory."""
