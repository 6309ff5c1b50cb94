"""The port for checks, repairs and copies of a database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from indexer.domain.files import FileStamp
    from indexer.domain.health import Finding
    from indexer.domain.models import ModelCard

DigestOf = Callable[[bytes, "FileStamp"], bytes | None]
"""Function from a path and a stamp to the digest of the file; None if it is unreadable or has another stamp."""


class DatabaseMaintenance(Protocol):
    """Checks, repairs and copies. Every method works with damaged pages and rows.

    `is_file` is False for a database on a server, which repairs and copies it: the methods for that raise UsageError.
    """

    is_file: bool

    def translate_errors(self) -> AbstractContextManager[None]:
        """Raise errors of the database inside the `with` block as MoodexError, StoreDamaged or WriterBusy."""

    def count_rows(self) -> dict[str, int]:
        """Count the rows of each table, without unreadable tables."""

    def check(self, writer: int | None, check_stop: Callable[[], None], advance: Callable[[int], None]) -> Iterator[Finding]:
        """Check the database. `writer` is the id of the process that writes now, if any.

        Calls `advance` with numbers of checked rows: each row of `count_rows` three times in all.
        """

    def check_vectors(self, check_stop: Callable[[], None], advance: Callable[[int], None]) -> Iterator[Finding]:
        """Check the saved vector indexes. Raises StoreDamaged if the database is damaged."""

    def orphan_files(self) -> list[Path]:
        """List files of vector indexes that belong to no model or that no manifest names."""

    def used_cards(self) -> list[ModelCard]:
        """List the cards of models with predictions, without damaged cards."""

    def copy_aside(self, why: str) -> Path:
        """Copy the database, whatever its state, to a new name that contains `why`; return the copy."""

    def repair_rows(self, cards: Mapping[str, ModelCard], digest_of: DigestOf, rebuild_indexes: bool) -> None:
        """Repair contradictory rows in one transaction. `cards` are those of the installed models, by key."""

    def salvage(self, cards: Mapping[str, ModelCard], digest_of: DigestOf, advance: Callable[[int], None]) -> Mapping[str, int]:
        """Copy every readable row to a new database, repair it, and replace the damaged one.

        Returns the rows of each table.
        """

    def copy_to(self, target: Path, advance: Callable[[int, int], None], check_stop: Callable[[], None]) -> dict[str, int]:
        """Write a snapshot of the database to a new file; return the rows of each table.

        Calls `advance` with the number of copied pages and of all pages. Raises StoreDamaged, and OSError if the copy cannot be
        written.
        """

    def remove_copy(self, copy: Path) -> None:
        """Delete a copy and its side files, if they exist."""

    def check_copy(self, copy: Path) -> None:
        """Check that a copy is intact, and migrate it. Raises StoreDamaged, and MoodexError for one of a newer moodex."""

    def replace_by(self, copy: Path) -> None:
        """Replace the database by a copy in one step, even if other processes have it open."""

    def holds(self, path: Path) -> bool:
        """Return whether a path is the database itself."""
