"""A log handler that collects events for tests."""

from __future__ import annotations

import logging
from types import TracebackType

_EVENTS = logging.getLogger("indexer.system.events")


class LoggedEvents(logging.Handler):
    """Collects events inside a `with` block: `names` as (level, event), and messages as `sentences`."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[tuple[str, str]] = []
        self.sentences: list[str] = []

    def __enter__(self) -> LoggedEvents:
        self._level_before = _EVENTS.level
        _EVENTS.setLevel(logging.DEBUG)
        _EVENTS.addHandler(self)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        _EVENTS.removeHandler(self)
        _EVENTS.setLevel(self._level_before)

    def emit(self, record: logging.LogRecord) -> None:
        self.names.append((record.levelname.lower(), record.event))  # type: ignore[attr-defined]
        self.sentences.append(record.getMessage())
