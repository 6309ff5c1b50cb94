"""Lists of paths: from the command line, from files, and from standard input."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from indexer.domain.errors import UsageError

FilesFrom = Annotated[
    list[Path] | None,
    typer.Option("--files-from", help="A file with one path a line, or - for standard input; may be repeated.", metavar="FILE"),
]
Null = Annotated[bool, typer.Option("-0", "--null", help="Paths in lists end with NUL, as find -print0 writes them.")]

_STANDARD_INPUT = "-"


def all_paths(paths: Sequence[Path] | None, files_from: Sequence[Path] | None, null: bool) -> list[bytes]:
    """Return the paths of a command line, then those of its lists; the path - stands for a list on standard input.

    Empty lines are skipped. Raises UsageError for a list that cannot be read, and for --null without a list.
    """
    given = [os.fsencode(path) for path in paths or () if str(path) != _STANDARD_INPUT]
    lists = [*(path for path in paths or () if str(path) == _STANDARD_INPUT), *(files_from or ())]
    if null and not lists:
        raise UsageError("--null is for lists of paths; give --files-from FILE, or - for standard input.")
    if sum(str(path) == _STANDARD_INPUT for path in lists) > 1:
        raise UsageError("Standard input can be read once; give - once.")
    return [*given, *(path for source in lists for path in _read(source, null))]


def has_list(paths: Sequence[Path] | None, files_from: Sequence[Path] | None) -> bool:
    """Return whether a command line names a list of paths."""
    return bool(files_from) or any(str(path) == _STANDARD_INPUT for path in paths or ())


def _as_utf8(data: bytes) -> bytes:
    """Return a list without the mark at its start that names its encoding; PowerShell and editors write UTF-16 and UTF-8 so."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        with suppress(UnicodeDecodeError):
            return data.decode("utf-16").encode()
    return data.removeprefix(codecs.BOM_UTF8)


def _read(source: Path, null: bool) -> Iterable[bytes]:
    try:
        data = sys.stdin.buffer.read() if str(source) == _STANDARD_INPUT else source.read_bytes()
    except OSError as error:
        raise UsageError(f"Cannot read the list {str(source)!r}: {error.strerror}.") from error
    data = _as_utf8(data)
    paths = data.split(b"\0") if null else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    if not null and b"\0" in data:
        raise UsageError(f"The list {str(source)!r} contains zero bytes; if its paths end with them, add --null.")
    return [path for path in paths if path]
