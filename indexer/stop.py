"""Stopping long work where nothing is lost."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from indexer.errors import Interrupted


@contextmanager
def stoppable() -> Iterator[Callable[[], None]]:
    """While inside, Ctrl-C and SIGTERM ask the work to stop at its next safe point; a second Ctrl-C stops at once."""
    received: list[int] = []

    def note(number: int, _frame: Any) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def check_stop() -> None:
        if received:
            name = signal.Signals(received[0]).name
            raise Interrupted(
                f"Stopped by {name}; what was indexed so far is kept, and the next run goes on from there.", received[0]
            )

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield check_stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
