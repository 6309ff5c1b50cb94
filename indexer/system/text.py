"""Text output that is safe on a terminal, whatever the file names contain."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

from indexer.system.csv_format import csv_writer

_JOINER = "\u200d"
"""Joins emoji that are drawn as one. It is harmless, although Python does not count it as printable."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str) -> str:
    """Escape control characters, changes of text direction, and undecodable bytes."""
    return "".join(c if c.isprintable() or c == _JOINER else _escape(c) for c in text)


def write_table(rows: Iterable[Sequence[object]], out: TextIO) -> None:
    """Write rows as CSV: printable on a terminal, elsewhere with the original bytes of file names."""
    text = io.StringIO()
    writer = csv_writer(text)
    if out.isatty():
        writer.writerows([printable(str(cell)) for cell in row] for row in rows)
        out.write(text.getvalue())
        return
    writer.writerows(rows)
    write_bytes(os.fsencode(text.getvalue()), out)


def write_bytes(data: bytes, out: TextIO) -> None:
    """Write bytes to a text stream, bypassing its encoding."""
    out.flush()
    out.buffer.write(data)
    out.buffer.flush()


def display_path(path: bytes) -> str:
    """Return a printable path, relative if it is below the current folder."""
    text = os.fsdecode(path)
    here = str(Path.cwd()) + os.sep
    return printable(text.removeprefix(here))


def escape_spreadsheet_formula(text: str) -> str:
    """Put a quote before text that a spreadsheet would run as a formula. `labels.table` removes it."""
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA_STARTS) else text


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def display_paths(paths: Sequence[bytes], most: int = 2) -> str:
    """Return paths as printable text, the first `most` of them and the number of the others."""
    shown = ", ".join(display_path(path) for path in paths[:most])
    return f"{shown} and {len(paths) - most:,} more" if len(paths) > most else shown


def named(words: Sequence[str], most: int = 20) -> str:
    """Return the first words and the number of the others: users may have thousands of jobs and folders."""
    shown = ", ".join(words[:most])
    return f"{shown} and {len(words) - most:,} more" if len(words) > most else shown


def pluralize(number: int, noun: str) -> str:
    """Return a number with its noun, such as "1 file" or "1,234 files"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def joined(words: Iterable[str]) -> str:
    """Join words, each once: "cpu", "lite0 and wd", or "a, b and c"; at least one word."""
    *some, last = dict.fromkeys(words)
    return f"{', '.join(some)} and {last}" if some else last
