"""What is opened when it is first needed, or a little before that."""

from __future__ import annotations

from threading import Event

import pytest

from indexer.domain.errors import ModelUnavailable
from models.inference.lazy import Lazy

LONG = 30.0
"""Seconds: nobody waits so long, but for a mistake."""


def test_it_is_opened_once_and_not_before_it_is_needed() -> None:
    opened: list[int] = []
    once = Lazy(lambda: opened.append(1) or len(opened))
    assert once.peek() is None and not opened
    assert (once(), once(), once.peek(), opened) == (1, 1, 1, [1])


def test_a_background_open_is_awaited_by_the_first_use() -> None:
    begun, go_on = Event(), Event()

    def open_it() -> str:
        begun.set()
        assert go_on.wait(LONG)
        return "opened"

    once = Lazy(open_it)
    once.begin()
    assert begun.wait(LONG) and once.peek() is None
    go_on.set()
    assert once() == "opened"


def test_a_failure_beside_is_raised_where_the_result_is_needed() -> None:
    attempted = Event()

    def open_it() -> str:
        attempted.set()
        raise ModelUnavailable("gone")

    once = Lazy(open_it)
    once.begin()
    assert attempted.wait(LONG)
    with pytest.raises(ModelUnavailable, match="gone"):
        once()
