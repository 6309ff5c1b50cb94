"""A progress display that only records. Implements `indexer.ports.progress.Progress`."""

from __future__ import annotations


class Remembered:
    def __init__(self) -> None:
        self.found = 0
        self.total: int | None = None
        self.done = 0
        self.failed = 0
        self.finished = False
        self.warnings: list[str] = []

    def scanning(self, found: int) -> None:
        self.found = found

    def start(self, total: int) -> None:
        self.total = total

    def advance(self, done: int, failed: int) -> None:
        self.done += done
        self.failed += failed

    def finish(self) -> None:
        self.finished = True

    def warn(self, sentence: str) -> None:
        self.warnings.append(sentence)
