"""Label tables: CSV files with an image path or digest and an emotion in each row."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping

from indexer.domain.errors import ImageError, UsageError
from indexer.domain.image_ids import id_prefix
from indexer.domain.predictions import LabelAssignment
from indexer.system.safe_read import read


def is_table(path: bytes) -> bool:
    """Return whether a path is a label table: its name ends in .csv, and it is not a folder."""
    return path.lower().endswith(b".csv") and not os.path.isdir(path)


def read_label_table(table: bytes, remove: bool) -> list[LabelAssignment]:
    """Read a CSV file with the columns label and path, or digest (or image_id); the first digits of an id stand for a path.

    Relative paths start from the file's folder. Rows without a label are skipped, unless labels are to be removed.
    Raises UsageError for a file that cannot be read or lacks a column, and for a row with a label but without an image.
    """
    name = os.fsdecode(table)
    try:
        text = read(table)[0].decode("utf-8-sig", "surrogateescape")
        header, *rows = list(csv.reader(io.StringIO(text, newline=""), strict=True)) or [[]]
    except (OSError, ImageError, csv.Error) as error:
        raise UsageError(f"Cannot read the table {name!r}: {getattr(error, 'strerror', None) or error}.") from error
    columns = [column.strip().lower() for column in header]
    have = set(columns)
    missing = [] if have & {"path", "digest", "image_id"} else ["path"]
    if missing := [*missing, *({"label"} - have)]:
        listed = ", ".join(columns) or "none"
        raise UsageError(
            f"The table {name!r} lacks the column {' and '.join(missing)}; its columns are: {listed}. Save tables as UTF-8, with "
            "commas between the columns."
        )
    if twice := [column for column in columns if column in ("label", "path", "digest", "image_id") and columns.count(column) > 1]:
        raise UsageError(f"The table {name!r} has two columns named {twice[0]}; remove one of them.")
    cells = [dict(zip(columns, row, strict=False)) for row in rows]
    assignments = list(_assignments(cells, os.path.dirname(os.path.abspath(table)), name))
    return assignments if remove else [assignment for assignment in assignments if assignment.emotion]


def _assignments(rows: Iterable[Mapping[str, str]], folder: bytes, name: str) -> Iterator[LabelAssignment]:
    for number, row in enumerate(rows, 2):
        label, path = _bare(row.get("label") or "").strip(), _bare(row.get("path") or "")
        cell = (row.get("digest") or row.get("image_id") or "").strip()
        digest = _digest(cell)
        if "\0" in path:
            raise UsageError(f"The table {name!r} names no image in row {number}: the path contains a zero byte.")
        path = path or (cell if digest is None and id_prefix(os.fsencode(cell)) else "")
        if label and not path and digest is None:
            raise UsageError(f"The table {name!r} names no image in row {number}: there is neither a path nor a digest.")
        if path or digest:
            yield LabelAssignment(_located(os.fsencode(path), folder), label, digest, f"row {number} of {name!r}")


def _located(path: bytes, folder: bytes) -> bytes:
    """Return the path of a cell, which is relative to the folder of its table. An id, which no file there has, stays as it is."""
    located = os.path.join(folder, path)
    is_id = id_prefix(path) is not None and not os.path.lexists(located)
    return path if is_id or not path else located  # an empty path must not become the folder itself


def _bare(cell: str) -> str:
    """Undo `indexer.system.text.escape_spreadsheet_formula`."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _digest(cell: str) -> bytes | None:
    try:
        digest = bytes.fromhex(cell)
    except ValueError:
        return None
    return digest if len(digest) == 32 else None
