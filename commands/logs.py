"""The log on stderr: one sentence per line for people, or one JSON object per line for programs."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from datetime import datetime

from indexer.system.events import NOTICES
from indexer.system.text import printable

PACKAGES = ("commands", "db", "indexer", "models")
_PROGRESS_BARS = "models.progress_bar"
"""The logger whose level decides whether `models` shows progress bars. That package must not import the command line."""

PROGRESS_LINES = "commands.progress_lines"
"""The logger of the lines that tell the progress where no bars are shown. Only a quiet log omits them."""

_LEVELS = {"quiet": logging.ERROR, "normal": logging.WARNING, "verbose": logging.DEBUG}


def configure(form: str = "text", verbosity: str = "normal", service: bool = False) -> None:
    """Configure the format of the log, "text" or "json", and its verbosity: "quiet", "normal" or "verbose".

    A `service` also logs normal events, and its text log has times.
    """
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _StderrHandler)]:
        root.removeHandler(handler)
    root.addHandler(_StderrHandler(_JsonFormatter() if form == "json" else _TextFormatter(service)))
    level = logging.INFO if service and verbosity == "normal" else _LEVELS[verbosity]
    for name in PACKAGES:
        logging.getLogger(name).setLevel(level)
    for name in (PROGRESS_LINES, NOTICES):
        logging.getLogger(name).setLevel(logging.ERROR if verbosity == "quiet" else logging.INFO)
    # urllib3 warns of every request that it repeats; if none succeeds, that is the error.
    logging.getLogger("urllib3").setLevel(logging.WARNING if verbosity == "verbose" else logging.ERROR)
    show_bars = form == "text" and verbosity != "quiet"
    logging.getLogger(_PROGRESS_BARS).setLevel(logging.NOTSET if show_bars else logging.ERROR)


def shows_progress() -> bool:
    """Return whether to show bars and counters if stderr is a terminal."""
    return logging.getLogger(_PROGRESS_BARS).isEnabledFor(logging.WARNING)


class _StderrHandler(logging.Handler):
    """Writes one line per record to the current `sys.stderr`."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        with suppress(OSError, ValueError):  # a program that stops reading stderr is not an error
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


class _TextFormatter(logging.Formatter):
    def __init__(self, dated: bool) -> None:
        super().__init__()
        self._dated = dated

    def format(self, record: logging.LogRecord) -> str:
        start = f"{datetime.fromtimestamp(record.created):%Y-%m-%d %H:%M:%S}" if self._dated else "moodex:"
        return f"{start} {printable(record.getMessage())}"


class _JsonFormatter(logging.Formatter):
    """Formats a record as one object: time, level, event, message, and the facts of an event or the name of the logger."""

    def format(self, record: logging.LogRecord) -> str:
        import json

        fixed = {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "log"),
            "message": record.getMessage(),
        }
        facts = getattr(record, "facts", None)
        return json.dumps({**fixed, **({"logger": record.name} if facts is None else facts), **fixed}, default=str)
