"""Checks, repairs and copies of a database that lies in files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from indexer.domain.files import FileStamp
    from indexer.domain.health import Finding, IndexedFile
    from indexer.domain.models import ModelCard

DigestOf = Callable[[bytes, "FileStamp"], bytes | None]
"""The digest of a file's bytes; None if the file cannot be read or has another stamp."""


class DatabaseMaintenance(Protocol):
    """What keeps a database healthy. Everything here bears damaged pages and rows."""

    def translate_errors(self) -> AbstractContextManager[None]:
        """Raise errors of the database inside the `with` block as MoodexError, StoreDamaged or WriterBusy."""

    def count_rows(self) -> dict[str, int]:
        """Count the rows of each table; tables that cannot be read are left out."""

    def check(self, writer: int | None, check_stop: Callable[[], None], advance: Callable[[int], None]) -> Iterator[Finding]:
        """Find what is wrong in the database. `writer` is the process that writes at the moment, if any.

        `advance` is called with the number of rows that were read: each row of `count_rows` three times in all.
        """

    def check_vectors(self, check_stop: Callable[[], None], advance: Callable[[int], None]) -> Iterator[Finding]:
        """Find what is wrong with the saved vector indexes. Raises StoreDamaged if the database is."""

    def orphan_files(self) -> list[Path]:
        """List files of vector indexes that belong to no model or that no manifest names."""

    def used_cards(self) -> list[ModelCard]:
        """List the cards of the models that have predictions; models with a damaged card are left out."""

    def indexed_files(self) -> Iterator[list[IndexedFile]]:
        """Read every indexed file, oldest first, some thousands at a time, each portion in a transaction of its own."""

    def still_indexed(self, files: Sequence[IndexedFile]) -> set[IndexedFile]:
        """Return those of some files, which lie together, that the database still knows like this."""

    def requeue(self, files: Sequence[IndexedFile]) -> None:
        """Let files wait for analysis, as if they had changed."""

    def copy_aside(self, why: str) -> Path:
        """Copy the database, whatever its state, to a new name that says why; return the copy."""

    def repair_rows(self, cards: Mapping[str, ModelCard], digest_of: DigestOf, rebuild_indexes: bool) -> None:
        """Repair rows that contradict each other, in one transaction. `cards` are those of the installed models, by key."""

    def salvage(self, cards: Mapping[str, ModelCard], digest_of: DigestOf, advance: Callable[[int], None]) -> Mapping[str, int]:
        """Copy every readable row to a new database, repair it and put it in place; return the rows of each table."""

    def copy_to(self, target: Path, advance: Callable[[int, int], None], check_stop: Callable[[], None]) -> dict[str, int]:
        """Write the database as it is at this moment to a new file; return the rows of each table.

        `advance` is called with the pages that are copied and the pages there are. Raises StoreDamaged, and OSError if the copy
        cannot be written.
        """

    def remove_copy(self, copy: Path) -> None:
        """Delete a copy, with what belongs to it, if it is there."""

    def check_copy(self, copy: Path) -> None:
        """Check that a copy is intact and bring it up to date. Raises StoreDamaged, and MoodexError for a newer moodex's."""

    def replace_by(self, copy: Path) -> None:
        """Put a copy in the place of the database, in one step, though others may have it open."""

    def holds(self, path: Path) -> bool:
        """Return whether a path is the database itself."""
