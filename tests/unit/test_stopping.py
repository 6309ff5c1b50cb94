"""Waiting that ends where something happens, and signals that nobody misses."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from indexer.domain.errors import Interrupted
from indexer.system.signals import graceful_stop, interruptible

LONG = 600.0


def soon(act: object) -> threading.Timer:
    timer = threading.Timer(0.05, act)  # type: ignore[arg-type]
    timer.start()
    return timer


def test_waiting_ends_by_itself() -> None:
    with interruptible("all is kept") as attention:
        attention.wait(0.01)
        attention.wait(-1)


def test_another_thread_wakes_it() -> None:
    began = time.monotonic()
    with interruptible("all is kept") as attention:
        timer = soon(attention.wake)
        attention.wait(LONG)
        timer.join()
        attention.wake()  # before the wait
        attention.wait(LONG)
    assert time.monotonic() - began < LONG
    attention.wake()  # too late, and no error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once(number: signal.Signals) -> None:
    began = time.monotonic()
    with interruptible("all is kept") as attention:
        timer = soon(lambda: os.kill(os.getpid(), number))
        with pytest.raises(Interrupted, match=f"{number.name}; all is kept") as caught:
            attention.wait(LONG)
        timer.join()
    assert time.monotonic() - began < LONG
    assert caught.value.exit_code == 128 + number


def test_a_signal_after_the_last_safe_point_of_the_work_reaches_who_waits_around_it() -> None:
    with interruptible("all is kept") as attention:
        with graceful_stop("this is kept"):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted, match="all is kept"):
            attention.wait(LONG)


def test_handlers_are_as_they_were_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with interruptible("x"), graceful_stop("y"):
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert signal.set_wakeup_fd(-1) == -1
