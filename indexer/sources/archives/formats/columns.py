"""Columns of images in Parquet and Arrow files, such as data sets of Hugging Face, and columns of URLs.

A column of images has structs with the field `bytes` and perhaps `path`, or bytes themselves under a usual name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Set
from typing import IO, Any, NamedTuple
from zlib import crc32

# The allocator of the system takes no address space in advance, which is limited here.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

import pyarrow as pa
import pyarrow.parquet as pq

from indexer.ports.sources import EXTENSIONS, EXTRA_EXTENSIONS, extension_of
from indexer.sources.archives.contents import inner_path
from indexer.sources.archives.formats import FILE, Entry, Sink
from indexer.sources.archives.url_rows import KEY_COLUMN, URL_COLUMNS, UrlNames

_BYTES_COLUMNS = {"image", "img", "bytes", "jpg", "jpeg", "png", "webp"}
_WITHOUT_IMAGE = "row without the bytes of an image"
_BATCH_ROWS = 16
_EXTENSIONS = {b"\x89PNG": ".png", b"GIF8": ".gif", b"RIFF": ".webp"}
"""Extensions of images without a name, by their first bytes; others get ".jpg". The bytes decide how an image is decoded."""

_PARQUET, _ARROW_FILE = b"PAR1", b"ARROW1"


class ColumnsArchive:
    """Implements `ArchiveFormat`. A file is read from its start, because rows are compressed together."""

    has_random_access, has_checksums = False, True

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._head = file.read(len(_ARROW_FILE))
        schema = self._opened().schema
        self._images = [name for name, kind in zip(schema.names, schema.types, strict=True) if _has_images(name, kind)]

    def entries(self) -> Iterator[Entry]:
        """Yield an entry for each row of each column of images; without such a column, for each row of a column of URLs."""
        if not self._images:
            yield from self._url_entries()
        used: set[bytes] = set()
        for row in self._rows():
            name = self._name(row, used)
            used.add(name)
            if row.data is None:
                yield Entry(row.number, name, 0, 0, _WITHOUT_IMAGE)
            else:
                yield Entry(row.number, name, row.data.size, crc32(row.data), FILE)

    def extract(self, numbers: Set[int], sink: Sink) -> None:
        """Extract entries; see `ArchiveFormat`."""
        for row in self._rows():
            if row.number in numbers and row.data is not None:
                sink.write(row.number, row.data.to_pybytes())
                sink.end(row.number)

    def _rows(self) -> Iterator[_Row]:
        number = 0
        for column in self._images:
            index = 0
            for batch in self._batches({column}):
                for data, path in _pairs(batch.column(column)):
                    yield _Row(number, column, index, data, path)
                    number, index = number + 1, index + 1

    def _name(self, row: _Row, used: Set[bytes]) -> bytes:
        """Return the name of a row: its path, if that is one below the archive and unique; else its number."""
        folder = f"{row.column}/" if len(self._images) > 1 else ""
        name = f"{folder}{row.path}".encode("utf-8", "surrogateescape")
        has_image_name = bool(row.path) and (extension_of(name) in EXTENSIONS or extension_of(name) in EXTRA_EXTENSIONS)
        if has_image_name and inner_path(name) and name not in used:
            return name
        start = b"" if row.data is None else row.data.slice(0, min(4, row.data.size)).to_pybytes()
        extension = extension_of(name).decode() if has_image_name else _EXTENSIONS.get(start, ".jpg")
        number = f"{row.place:06d}{extension}"
        name = f"{folder}{number}".encode()
        return f"{folder}row {number}".encode() if name in used else name

    def _url_entries(self) -> Iterator[Entry]:
        names = self._opened().schema.names
        column = next((name for name in names if name.lower() in URL_COLUMNS), None)
        if column is None:
            return
        keys = KEY_COLUMN if KEY_COLUMN in names else column
        urls = UrlNames()
        for batch in self._batches({column, keys}):
            for url, key in zip(batch.column(column), batch.column(keys), strict=True):
                text = "" if key.as_py() is None or keys == column else str(key.as_py())
                yield from urls.entries(str(url.as_py() or ""), text)

    def _batches(self, columns: Set[str]) -> Iterator[Any]:
        opened = self._opened()
        if self._head.startswith(_PARQUET):
            yield from opened.file.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns), use_threads=False)
            return
        file = opened.file
        batches = map(file.get_batch, range(file.num_record_batches)) if self._head == _ARROW_FILE else file
        for batch in batches:
            batch.validate(full=True)  # the offsets in the file may lead anywhere
            yield batch

    def _opened(self) -> _Opened:
        self._file.seek(0)
        if self._head.startswith(_PARQUET):
            parquet = pq.ParquetFile(self._file, pre_buffer=False)
            return _Opened(parquet, parquet.schema_arrow)
        opened = (pa.ipc.open_file if self._head == _ARROW_FILE else pa.ipc.open_stream)(self._file)
        return _Opened(opened, opened.schema)


class _Opened(NamedTuple):
    """A file that pyarrow has opened, and its schema."""

    file: Any
    schema: Any


class _Row(NamedTuple):
    """An image in a column: its number in all of them, its column, its number there, its bytes or None, and its path or ""."""

    number: int
    column: str
    place: int
    data: Any
    path: str


def open_archive(file: IO[bytes]) -> ColumnsArchive:
    """Open a Parquet or Arrow file."""
    return ColumnsArchive(file)


def _has_images(name: str, kind: Any) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type)
    return name.lower() in _BYTES_COLUMNS and _is_binary(kind)


def _is_binary(kind: Any) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _pairs(values: Any) -> Iterator[tuple[Any, str]]:
    """Yield the bytes of each value, or None, and its path or ""."""
    data, paths = values, None
    if pa.types.is_struct(values.type):
        fields = dict(zip((field.name for field in values.type), values.flatten(), strict=True))
        data, paths = fields["bytes"], fields.get("path")
    for index, value in enumerate(data):
        path = None if paths is None else paths[index].as_py()
        yield value.as_buffer() if value.is_valid else None, str(path or "")
