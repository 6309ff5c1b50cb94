"""The port for progress of long work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """A display of the progress of long work."""

    def scanning(self, found: int) -> None:
        """Show the number of image files found so far."""

    def start(self, total: int) -> None:
        """Begin work on `total` files."""

    def advance(self, done: int, failed: int) -> None:
        """Add `done` finished files, `failed` of which failed."""

    def finish(self) -> None:
        """End the work, whether it succeeded or not."""

    def warn(self, sentence: str) -> None:
        """Show a warning immediately."""


@contextmanager
def task(progress: Progress, check_stop: Callable[[], None], total: int) -> Iterator[Callable[[int], None]]:
    """Show work of `total` units; yield a function to call with the number of finished units.

    That function raises what `check_stop` raises if a stop was requested.
    """

    def advance(size: int) -> None:
        check_stop()
        progress.advance(size, 0)

    progress.start(total)
    try:
        yield advance
    finally:
        progress.finish()


@contextmanager
def slow_task(
    progress: Progress, check_stop: Callable[[], None], total: int, seconds: float = 1.0
) -> Iterator[Callable[[int], None]]:
    """Show work like `task`, but only if it is not finished after some seconds."""
    started, done, shown = time.monotonic(), 0, False

    def advance(size: int) -> None:
        nonlocal done, shown
        check_stop()
        done += size
        if shown:
            progress.advance(size, 0)
        elif time.monotonic() - started > seconds:
            shown = True
            progress.finish()  # the display of earlier work
            progress.start(total)
            progress.advance(done, 0)

    try:
        yield advance
    finally:
        if shown:
            progress.finish()
