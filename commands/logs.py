"""What the program says on stderr beside progress: a sentence a line for people, or a JSON object a line for programs."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from indexer.system.text import printable

_OURS = ("commands", "db", "indexer", "models")
_BARS = "models.progress_bar"
"""The logger whose warnings say whether training and its like show bars, for `models` knows nothing of the command line."""

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_LEAST = {"quiet": "error", "normal": "warning", "verbose": "debug"}


@dataclass(frozen=True, slots=True)
class _Manner:
    """How things are said: as "text" or "json", from which level on, and whether text says when."""

    form: str = "text"
    least: str = "warning"
    dated: bool = False


_manner = _Manner()


def configure(form: str, verbosity: str, service: bool = False) -> None:
    """Choose "text" or "json", and how much is said: "quiet", "normal" or "verbose". A service says what it does, and when.

    From then on what the libraries log is said in the same way.
    """
    global _manner  # noqa: PLW0603
    least = "info" if service and verbosity == "normal" else _LEAST[verbosity]
    _manner = _Manner(form, least, service)
    root = logging.getLogger()
    if not any(isinstance(handler, _Bridge) for handler in root.handlers):
        root.addHandler(_Bridge())
    for name in _OURS:
        logging.getLogger(name).setLevel(_LEVELS[_manner.least])
    logging.getLogger(_BARS).setLevel(logging.NOTSET if shows_progress() else logging.ERROR)


def speak_as(form: str) -> None:
    """Choose "text" or "json" before anything else is known."""
    global _manner  # noqa: PLW0603
    _manner = replace(_Manner(), form=form)


def shows_progress() -> bool:
    """Whether bars and counters belong on stderr, if it is a terminal."""
    return _manner.form == "text" and _manner.least != "error"


def say(level: str, event: str, sentence: str, **facts: Any) -> None:
    """Say something: `level` is debug, info, warning or error, `event` what happened, in a word, `facts` are for programs."""
    if _LEVELS[level] < _LEVELS[_manner.least]:
        return
    now = datetime.now().astimezone()
    if _manner.form == "json":
        import json

        told = {"time": now.isoformat(timespec="milliseconds"), "level": level, "event": event, "message": sentence}
        line = json.dumps({**told, **facts, **told}, default=str)
    else:
        line = f"{f'{now:%Y-%m-%d %H:%M:%S}' if _manner.dated else 'moodex:'} {printable(sentence)}"
    with suppress(OSError, ValueError):  # nobody listens any more
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


class _Bridge(logging.Handler):
    """Says what was logged by way of the standard library."""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        say(level if level in _LEVELS else "error", "log", record.getMessage(), logger=record.name)
