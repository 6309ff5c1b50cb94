"""The move of a library from a file to a server, or back: copied, then compared row by row."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from indexer.domain.errors import MoodexError
from indexer.ports.progress import task
from indexer.system.signals import graceful_stop

if TYPE_CHECKING:
    from indexer.ports.library_copy import LibraryCopy, TableFacts
    from indexer.ports.progress import Progress

_READINGS = 3
"""A row is copied, then read in the source and in the target."""


def migrate(open_copy: Callable[[], AbstractContextManager[LibraryCopy]], progress: Progress) -> dict[str, int]:
    """Copy a library to an empty store, and compare all rows; return the number of rows of each table.

    A copy that was stopped goes on where it ended. Raises UsageError if the target holds another library, WriterBusy if something
    writes to one of the two, and MoodexError if the copy differs from its source.
    """
    with (
        graceful_stop("the copy is not complete; run the same command to resume") as check_stop,
        open_copy() as copy,
        task(progress, check_stop, _READINGS * copy.count()) as advance,
    ):
        copy.copy(advance)
        source = copy.describe(False, advance)
        _require_equal(source, copy.describe(True, advance))
        copy.finish()
    return {name: facts.rows for name, facts in source.items()}


def _require_equal(source: dict[str, TableFacts], target: dict[str, TableFacts]) -> None:
    """Raise MoodexError if a table of the target differs from that of the source."""
    wrong = [name for name, facts in source.items() if target.get(name) != facts]
    if wrong:
        raise MoodexError(
            f"The copy differs from the source in the table {wrong[0]!r}: the source changed during the copy, or the target is "
            "damaged. Empty the target, then run the same command again while nothing writes to the source."
        )
