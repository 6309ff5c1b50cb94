"""Events in the log: a sentence for people, and a name and facts for programs."""

from __future__ import annotations

import logging
from typing import Any, Literal

Level = Literal["debug", "info", "warning", "error"]

_LEVELS: dict[Level, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_log = logging.getLogger(__name__)

NOTICES = "indexer.notices"
"""The logger of what a user should know although nothing is wrong. Only a quiet log omits it."""


def log_event(level: Level, event: str, sentence: str, **facts: Any) -> None:
    """Log a sentence. A JSON log also contains `event`, a short name for what happened, and the facts."""
    _log.log(_LEVELS[level], "%s", sentence, extra={"event": event, "facts": facts})


def tell(event: str, sentence: str, **facts: Any) -> None:
    """Log a notice, as `log_event` logs a sentence."""
    logging.getLogger(NOTICES).info("%s", sentence, extra={"event": event, "facts": facts})
