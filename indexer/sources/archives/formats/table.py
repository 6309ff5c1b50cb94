"""Tables of URLs as text: CSV, or TSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Set
from typing import IO

from indexer.domain.errors import Damaged
from indexer.sources.archives.formats import Entry, Sink
from indexer.sources.archives.url_rows import KEY_COLUMN, URL_COLUMNS, UrlNames

_MAX_FIELD_CHARACTERS = 1 << 20
_SEPARATORS = ",\t;"


class TableArchive:
    """Implements `ArchiveFormat`. The first line names the columns. The bytes of its entries are elsewhere."""

    has_random_access = has_checksums = True

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def entries(self) -> Iterator[Entry]:
        """Yield an entry for each row with a URL. Raises Damaged without a column of URLs."""
        self._file.seek(0)
        text = io.TextIOWrapper(self._file, "utf-8-sig", "surrogateescape", newline="")
        try:
            first = text.readline(_MAX_FIELD_CHARACTERS)
            separator = max(_SEPARATORS, key=first.count)
            csv.field_size_limit(_MAX_FIELD_CHARACTERS)
            columns = next(csv.reader([first], delimiter=separator), [])
            column = next((number for number, name in enumerate(columns) if name.strip().lower() in URL_COLUMNS), None)
            if column is None:
                raise Damaged("it has no column with the name url, so that it is not a table of images")
            key = next((number for number, name in enumerate(columns) if name.strip().lower() == KEY_COLUMN), None)
            names = UrlNames()
            for row in csv.reader(text, delimiter=separator):
                if len(row) > column:
                    yield from names.entries(row[column].strip(), row[key].strip() if key is not None and len(row) > key else "")
        finally:
            text.detach()

    def extract(self, numbers: Set[int], sink: Sink) -> None:
        """Do nothing: the entries have no bytes here."""


def open_archive(file: IO[bytes]) -> TableArchive:
    """Open a table."""
    return TableArchive(file)
