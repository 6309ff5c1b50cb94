"""Progress bars on stderr. Nothing is shown if stderr is not a terminal, or if logs are JSON or quiet."""

from __future__ import annotations

import sys
import time
from typing import Any

from commands import logs
from indexer.system.events import log_event
from indexer.system.text import pluralize

_UPDATE_SECONDS = 0.1


class TerminalProgress:
    """Implements `indexer.ports.progress.Progress`.

    Shows a count while scanning, then a bar with rate, remaining time and failures.
    """

    def __init__(self, title: str = "Indexing", unit: str = "images") -> None:
        self._title = title
        self._unit = unit
        self._terminal = sys.stderr.isatty() and logs.shows_progress()
        self._bar: Any = None
        self._failed = 0
        self._shown_at = 0.0

    def scanning(self, found: int) -> None:
        now = time.monotonic()
        if self._terminal and now - self._shown_at >= _UPDATE_SECONDS:
            self._shown_at = now
            sys.stderr.write(f"\rScanning: {pluralize(found, 'image file')} ")
            sys.stderr.flush()

    def start(self, total: int) -> None:
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
        if self._bar is not None:
            if failed:
                self._bar.set_postfix_str(f"{self._failed} failed", refresh=False)
            self._bar.update(done)

    def finish(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def warn(self, sentence: str) -> None:
        if self._terminal:
            sys.stderr.write("\r\x1b[K")
        log_event("warning", "warning", sentence)
