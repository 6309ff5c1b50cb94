"""Stops of long work at safe points, and waits that a signal ends."""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from indexer.domain.errors import Interrupted


@contextmanager
def graceful_stop(notice: str) -> Iterator[Callable[[], None]]:
    """Let the work in a `with` block stop at its next safe point on Ctrl-C, SIGTERM or SIGHUP.

    Yields a function that the work calls at safe points. After a signal, the function raises Interrupted; `notice` completes its
    message, for example "nothing was changed". A second Ctrl-C stops at once. SIGHUP, the end of the terminal, stays ignored if
    it was. A signal after the last safe point is passed on to an enclosing handler.
    """
    received: list[int] = []

    def record(number: int, _frame: Any) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def check_stop() -> None:
        if received:
            raise Interrupted(f"Stopped by {signal.Signals(received[0]).name}; {notice}.", received[0])

    before = {number: signal.signal(number, record) for number in _stop_signals()}
    try:
        yield check_stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        outer = before[signal.Signals(received[0])] if received else None
        if callable(outer) and outer is not signal.default_int_handler:
            outer(received[0], None)


def _stop_signals() -> list[signal.Signals]:
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is None or signal.getsignal(hang_up) is signal.SIG_IGN:  # nohup ignores it
        return [signal.SIGINT, signal.SIGTERM]
    return [signal.SIGINT, signal.SIGTERM, hang_up]


class InterruptibleWait:
    """A wait that any thread can end. Only the main thread waits."""

    def __init__(self, check_stop: Callable[[], None], receiver: socket.socket, sender: socket.socket) -> None:
        self._check_stop = check_stop
        self._receiver = receiver
        self._sender = sender

    def wait(self, seconds: float) -> None:
        """Wait, or return early after `wake`. Raises Interrupted after a signal, before or during the wait."""
        self._check_stop()
        if select.select([self._receiver], [], [], max(0.0, seconds))[0]:
            self._receiver.recv(4096)
        self._check_stop()

    def wake(self) -> None:
        """End the current wait, or else the next one."""
        with suppress(OSError):  # the buffer is full, so a wake-up is pending, or the socket is closed
            self._sender.send(b"\0")


@contextmanager
def interruptible(notice: str) -> Iterator[InterruptibleWait]:
    """Like `graceful_stop`, for work with waits: a signal ends the wait."""
    receiver, sender = socket.socketpair()
    with receiver, sender, graceful_stop(notice) as check_stop:
        receiver.setblocking(False)
        sender.setblocking(False)
        # The interpreter writes to the socket when a signal arrives. A handler alone could run just before select and not end it.
        before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        try:
            yield InterruptibleWait(check_stop, receiver, sender)
        finally:
            signal.set_wakeup_fd(before)
