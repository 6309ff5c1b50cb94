"""Progress on stderr: bars on a terminal, elsewhere a line every minute. A quiet log shows neither."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from commands import logs
from indexer.system.events import log_event
from indexer.system.text import pluralize

_log = logging.getLogger(logs.PROGRESS_LINES)

_UPDATE_SECONDS = 0.1
_LINE_SECONDS = 60.0


class TerminalProgress:
    """Implements `indexer.ports.progress.Progress`.

    Shows a count while scanning, then a bar with rate, remaining time and failures. `clock` returns seconds.
    """

    def __init__(self, title: str = "Indexing", unit: str = "images", clock: Callable[[], float] = time.monotonic) -> None:
        self._title = title
        self._unit = unit
        self._clock = clock
        self._line_at = clock() + _LINE_SECONDS
        self._total = self._done = 0
        self._terminal = sys.stderr.isatty() and logs.shows_progress()
        self._bar: Any = None
        self._failed = 0
        self._shown_at = 0.0

    def scanning(self, found: int) -> None:
        now = self._clock()
        if not self._terminal:
            self._write_line(f"Scanning: {pluralize(found, 'image file')} so far.", found=found)
        elif now - self._shown_at >= _UPDATE_SECONDS:
            self._shown_at = now
            sys.stderr.write(f"\rScanning: {pluralize(found, 'image file')} ")
            sys.stderr.flush()

    def start(self, total: int) -> None:
        self._total, self._done = total, 0
        if not self._terminal:
            return
        from tqdm import tqdm

        sys.stderr.write("\r\x1b[K")
        if total:
            is_scaled = self._unit == "B"  # bytes are shown as kB, MB, ...
            unit = self._unit if is_scaled else f" {self._unit}"
            self._bar = tqdm(
                total=total, unit=unit, unit_scale=is_scaled, desc=self._title, file=sys.stderr, dynamic_ncols=True, smoothing=0.1
            )

    def advance(self, done: int, failed: int) -> None:
        self._failed += failed
        self._done += done
        if not self._terminal and self._total and self._unit != "B":
            failures = f", {self._failed:,} failed" if self._failed else ""
            share = f"{self._done:,} of {self._total:,} {self._unit} ({self._done / self._total:.0%})"
            self._write_line(f"{self._title}: {share}{failures}.", done=self._done, total=self._total, failed=self._failed)
        if self._bar is not None:
            if failed:
                self._bar.set_postfix_str(f"{self._failed} failed", refresh=False)
            self._bar.update(done)

    def _write_line(self, sentence: str, **facts: int) -> None:
        """Log a line, unless the last one is less than a minute old."""
        now = self._clock()
        if now >= self._line_at:
            self._line_at = now + _LINE_SECONDS
            _log.info("%s", sentence, extra={"event": "progress", "facts": facts})

    def finish(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def warn(self, sentence: str) -> None:
        if self._terminal:
            sys.stderr.write("\r\x1b[K")
        log_event("warning", "warning", sentence)
