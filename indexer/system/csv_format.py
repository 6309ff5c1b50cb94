"""The CSV format of moodex: lines end in a line feed, and every value can be read back unchanged."""

from __future__ import annotations

import csv
from typing import Any, Protocol


class _Text(Protocol):
    def write(self, text: str, /) -> object: ...


class _Lines:
    """Replaces the line ends of `csv`.

    Before 3.13, Python quotes a carriage return only if lines end in one, so `csv` writes them and this class removes them.
    """

    def __init__(self, out: _Text) -> None:
        self._out = out

    def write(self, line: str) -> None:
        self._out.write(f"{line[:-2]}\n")


def csv_writer(out: _Text) -> Any:
    """Return a `csv.writer` that writes to `out`."""
    return csv.writer(_Lines(out), lineterminator="\r\n")
