"""Stopping long work where it loses nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from indexer.errors import Interrupted


@contextmanager
def stoppable(kept: str) -> Iterator[Callable[[], None]]:
    """While inside, Ctrl-C and SIGTERM ask the work to stop at its next safe point; a second Ctrl-C stops at once.

    Gives the function that the work calls at such points: it raises Interrupted, saying what is `kept`. Whoever waits around the
    work hears of a signal that came after its last safe point.
    """
    received: list[int] = []

    def note(number: int, _frame: Any) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def check_stop() -> None:
        if received:
            raise Interrupted(f"Stopped by {signal.Signals(received[0]).name}; {kept}.", received[0])

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield check_stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        outer = before[signal.Signals(received[0])] if received else None
        if callable(outer) and outer is not signal.default_int_handler:
            outer(received[0], None)
