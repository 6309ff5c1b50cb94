"""Data sets and tables for tests: as Hugging Face stores them, and as img2dataset reads them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def images(members: Mapping[str, bytes | None]) -> Any:
    """Return a table with a column of images, as the library datasets makes it."""
    values = [{"bytes": data, "path": name or None} for name, data in members.items()]
    return pa.table({"image": pa.array(values, _IMAGE), "label": pa.array(range(len(values)))})


def parquet(table: Any, rows: int = 3) -> bytes:
    """Return a Parquet file with several groups of rows."""
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=rows)
    return file.getvalue()


def arrow_stream(table: Any, rows: int = 3) -> bytes:
    """Return what save_to_disk writes: a stream of Arrow with several batches."""
    file = io.BytesIO()
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    return file.getvalue()


def arrow_file(table: Any, rows: int = 3) -> bytes:
    """Return an Arrow file (Feather)."""
    file = io.BytesIO()
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    return file.getvalue()


def url_csv(rows: Sequence[Mapping[str, str]], separator: str = ",") -> bytes:
    """Return a table of URLs as text, with a column for each key of the first row."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), delimiter=separator)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def url_parquet(rows: Sequence[Mapping[str, str]]) -> bytes:
    """Return a table of URLs as a Parquet file."""
    return parquet(pa.table({name: [row[name] for row in rows] for name in rows[0]}))
