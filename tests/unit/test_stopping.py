"""Waits that a wake-up or a signal ends, and signals that are never missed."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from indexer.domain.errors import Interrupted
from indexer.system.signals import graceful_stop, interruptible

LONG_SECONDS = 600.0


def call_soon(action: object) -> threading.Timer:
    timer = threading.Timer(0.05, action)  # type: ignore[arg-type]
    timer.start()
    return timer


def test_a_wait_ends_after_its_time() -> None:
    with interruptible("everything is saved") as waiter:
        waiter.wait(0.01)
        waiter.wait(-1)


def test_another_thread_ends_a_wait() -> None:
    started_at = time.monotonic()
    with interruptible("everything is saved") as waiter:
        timer = call_soon(waiter.wake)
        waiter.wait(LONG_SECONDS)
        timer.join()
        waiter.wake()  # before the wait
        waiter.wait(LONG_SECONDS)
    assert time.monotonic() - started_at < LONG_SECONDS
    waiter.wake()  # after the end, without an error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_wait_at_once(number: signal.Signals) -> None:
    started_at = time.monotonic()
    with interruptible("everything is saved") as waiter:
        timer = call_soon(lambda: os.kill(os.getpid(), number))
        with pytest.raises(Interrupted, match=f"{number.name}; everything is saved") as caught:
            waiter.wait(LONG_SECONDS)
        timer.join()
    assert time.monotonic() - started_at < LONG_SECONDS
    assert caught.value.exit_code == 128 + number


def test_a_signal_after_the_last_safe_point_reaches_the_outer_wait() -> None:
    with interruptible("everything is saved") as waiter:
        with graceful_stop("this part is saved"):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted, match="everything is saved"):
            waiter.wait(LONG_SECONDS)


def test_signal_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with interruptible("x"), graceful_stop("y"):
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert signal.set_wakeup_fd(-1) == -1
