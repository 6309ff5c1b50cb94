"""The port for copying a library from one store to another."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol


class TableFacts(NamedTuple):
    """The number of rows of a table, and a digest of their values in the order of their ids."""

    rows: int
    digest: str


class LibraryCopy(Protocol):
    """The copy of all rows of a library to an empty store, or to one that holds the beginning of the same copy."""

    def count(self) -> int:
        """Return the number of rows of the source."""

    def copy(self, advance: Callable[[int], None]) -> None:
        """Copy the rows that the target lacks. `advance` receives the rows of each transaction, and those that were there."""

    def describe(self, of_target: bool, advance: Callable[[int], None]) -> dict[str, TableFacts]:
        """Read all rows of the source or the target; return the facts of each table."""

    def finish(self) -> None:
        """Record in the target that the copy is complete."""
