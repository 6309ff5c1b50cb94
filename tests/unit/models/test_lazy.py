"""Lazy values: opened at the first use, or before it in the background."""

from __future__ import annotations

from threading import Event

import pytest

from indexer.domain.errors import ModelUnavailable
from models.inference.lazy import Lazy

TIMEOUT_SECONDS = 30.0
"""Reached only if a test fails."""


def test_a_value_is_opened_once_at_the_first_use() -> None:
    opened: list[int] = []
    lazy = Lazy(lambda: opened.append(1) or len(opened))
    assert lazy.peek() is None and not opened
    assert (lazy(), lazy(), lazy.peek(), opened) == (1, 1, 1, [1])


def test_a_background_open_is_awaited_by_the_first_use() -> None:
    started, allowed = Event(), Event()

    def open_value() -> str:
        started.set()
        assert allowed.wait(TIMEOUT_SECONDS)
        return "opened"

    lazy = Lazy(open_value)
    lazy.begin()
    assert started.wait(TIMEOUT_SECONDS) and lazy.peek() is None
    allowed.set()
    assert lazy() == "opened"


def test_a_failure_in_the_background_is_raised_at_the_first_use() -> None:
    attempted = Event()

    def open_value() -> str:
        attempted.set()
        raise ModelUnavailable("missing")

    lazy = Lazy(open_value)
    lazy.begin()
    assert attempted.wait(TIMEOUT_SECONDS)
    with pytest.raises(ModelUnavailable, match="missing"):
        lazy()
