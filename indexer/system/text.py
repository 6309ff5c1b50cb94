"""Text that is safe on a terminal, whatever the file names."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

from indexer.system.csv_format import csv_writer

_JOINER = "\u200d"
"""Holds together emoji that are drawn as one; harmless, though not printable by itself."""


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str) -> str:
    """The text with control characters, text direction changes and undecodable bytes written as escapes."""
    return "".join(c if c.isprintable() or c == _JOINER else _escape(c) for c in text)


def write_table(rows: Iterable[Sequence[object]], out: TextIO) -> None:
    """Write rows as CSV. Names go out as the bytes they are, past the stream's own encoding; on a terminal, printable."""
    text = io.StringIO()
    writer = csv_writer(text)
    if out.isatty():
        writer.writerows([printable(str(cell)) for cell in row] for row in rows)
        out.write(text.getvalue())
        return
    writer.writerows(rows)
    write_bytes(os.fsencode(text.getvalue()), out)


def write_bytes(data: bytes, out: TextIO) -> None:
    """Write bytes to a stream of text, past its encoding."""
    out.flush()
    out.buffer.write(data)
    out.buffer.flush()


def display_path(path: bytes) -> str:
    """A path for people: relative where it lies below the current folder, and printable."""
    text = os.fsdecode(path)
    here = str(Path.cwd()) + os.sep
    return printable(text.removeprefix(here))


def escape_spreadsheet_formula(text: str) -> str:
    """The text for a cell of a table: a quote before what a spreadsheet would run as a formula. `labels.assign` takes it off."""
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def pluralize(number: int, noun: str) -> str:
    """ "1 file", "1,234 files"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
