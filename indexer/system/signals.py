"""Stopping long work where it loses nothing, and waiting so that a signal ends it."""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from indexer.domain.errors import Interrupted


@contextmanager
def graceful_stop(kept: str) -> Iterator[Callable[[], None]]:
    """While inside, Ctrl-C, SIGTERM and the end of the terminal (SIGHUP, unless that is ignored) ask the work to stop at its next
    safe point; a second Ctrl-C stops at once.

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

    before = {number: signal.signal(number, note) for number in _ended_by()}
    try:
        yield check_stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        outer = before[signal.Signals(received[0])] if received else None
        if callable(outer) and outer is not signal.default_int_handler:
            outer(received[0], None)


def _ended_by() -> list[signal.Signals]:
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is None or signal.getsignal(hang_up) is signal.SIG_IGN:  # as nohup has it
        return [signal.SIGINT, signal.SIGTERM]
    return [signal.SIGINT, signal.SIGTERM, hang_up]


class InterruptibleWait:
    """Waiting that ends early where something happens. Only the main thread waits; any may wake it."""

    def __init__(self, check_stop: Callable[[], None], ear: socket.socket, mouth: socket.socket) -> None:
        self._check_stop = check_stop
        self._ear = ear
        self._mouth = mouth

    def wait(self, seconds: float) -> None:
        """Wait for so long, or until woken. Raises Interrupted where asked to stop, before or meanwhile."""
        self._check_stop()
        if select.select([self._ear], [], [], max(0.0, seconds))[0]:
            self._ear.recv(4096)
        self._check_stop()

    def wake(self) -> None:
        """End the waiting, present or next."""
        with suppress(OSError):  # it has been told often enough, or is over
            self._mouth.send(b"\0")


@contextmanager
def interruptible(kept: str) -> Iterator[InterruptibleWait]:
    """As `graceful_stop`, for what waits between its work: a signal ends the waiting."""
    ear, mouth = socket.socketpair()
    with ear, mouth, graceful_stop(kept) as check_stop:
        ear.setblocking(False)
        mouth.setblocking(False)
        # The interpreter itself writes there when a signal comes: a handler that runs while a wait begins would be too early.
        before = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
        try:
            yield InterruptibleWait(check_stop, ear, mouth)
        finally:
            signal.set_wakeup_fd(before)
