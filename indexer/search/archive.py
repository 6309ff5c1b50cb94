"""The files of search results as a zip archive, which is written while it is sent."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from indexer.domain.errors import ImageError, NotIndexed
from indexer.search.collect import distinct_names
from indexer.search.pictures import files_of, open_unchanged
from indexer.system.events import log_event

if TYPE_CHECKING:
    from indexer.domain.queries import Hit
    from indexer.library import Library
    from indexer.search.pictures import OpenFile

_CHUNK_BYTES = 1 << 18
_FIRST_YEAR = 1980
"""The first year that a zip archive can record."""


def archive(library: Library, hits: Sequence[Hit]) -> Iterator[bytes]:
    """Yield a zip archive of the files of hits, with names kept apart, without compression: images are compressed.

    A file that is missing or has changed is left out, with a warning in the log.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as target:
        for hit, name in distinct_names(hits):
            try:
                files = [file for file in files_of(library, hit.image_id) if file.path == hit.path]
                opened = open_unchanged(files, library.source)
            except (ImageError, NotIndexed) as error:
                log_event("warning", "file_missing", f"Not in the archive: {hit.path!r}. {error}", path=str(hit.path))
                continue
            yield from _member(target, sink, opened, name)
    yield sink.taken()


def _member(target: zipfile.ZipFile, sink: _Sink, opened: OpenFile, name: bytes) -> Iterator[bytes]:
    entry = zipfile.ZipInfo(name.decode("utf-8", "replace"), _date(opened))
    entry.external_attr = 0o644 << 16
    with opened.file, target.open(entry, "w", force_zip64=True) as member:
        while chunk := opened.file.read(_CHUNK_BYTES):
            member.write(chunk)
            yield sink.taken()
    yield sink.taken()


def _date(opened: OpenFile) -> tuple[int, int, int, int, int, int]:
    return max(time.localtime(opened.modified_ns / 1e9)[:6], (_FIRST_YEAR, 1, 1, 0, 0, 0))


class _Sink:
    """A file that hands on what is written to it. It cannot go back, so that the archive is written in order."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: what is written is taken."""

    def close(self) -> None:
        """Do nothing, as above."""

    def taken(self) -> bytes:
        """Return what was written since the last call."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data
