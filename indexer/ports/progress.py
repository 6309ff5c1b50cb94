"""How long work shows itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Somebody who watches long work."""

    def scanning(self, found: int) -> None:
        """So many picture files were found so far."""

    def start(self, total: int) -> None:
        """The work begins: so many files wait."""

    def advance(self, done: int, failed: int) -> None:
        """So many more files were finished, of them so many failed."""

    def finish(self) -> None:
        """The work ended, one way or another."""

    def warn(self, sentence: str) -> None:
        """Something the user should know, now."""


@contextmanager
def task(progress: Progress, check_stop: Callable[[], None], total: int) -> Iterator[Callable[[int], None]]:
    """Show work of `total` units; call what is yielded with the units that are done. It raises if a stop was requested."""

    def advance(size: int) -> None:
        check_stop()
        progress.advance(size, 0)

    progress.start(total)
    try:
        yield advance
    finally:
        progress.finish()
