"""The indexed images one by one: their faces, their files, and the bytes of a file that did not change since it was indexed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from indexer.domain.errors import ImageError, NotIndexed, Unreadable
from indexer.domain.image_ids import ambiguous_id
from indexer.domain.queries import Total
from indexer.ports.store_reader import filter_of
from indexer.registry.selection import open_selected, select_similar
from indexer.search.engine import count
from indexer.search.resolve import resolve_request
from indexer.search.tags import with_tags
from indexer.system.digest import digest
from indexer.system.safe_read import MAX_FILE_BYTES

if TYPE_CHECKING:
    from indexer.domain.queries import Hit, SearchRequest
    from indexer.library import Library
    from indexer.ports.sources import ImageSource, SourceFile
    from indexer.ports.store_reader import ImageFile, RankedHit


class IndexedImage(NamedTuple):
    """An image: its hits, one for each face, the largest first; its live files, and whether the user hid it."""

    hits: list[Hit]
    paths: list[bytes]
    hidden: bool


class OpenFile(NamedTuple):
    """A file that is open for reading, its path, its size in bytes, and when it was modified, in nanoseconds since the epoch."""

    file: BinaryIO
    path: bytes
    size: int
    modified_ns: int


class FilesPage(NamedTuple):
    """A page of hits by the age of their files, the id of the last file, and the number of all hits.

    `last` is None on the last page, `total` on pages after the first.
    """

    hits: list[Hit]
    last: int | None
    total: Total | None


def newest(library: Library, request: SearchRequest, before: int | None, most: int) -> FilesPage:
    """Return the hits of a request, the latest entry first: at most its limit, with ids of files below `before`, if it is given.

    On the first page, all hits are counted, up to `most`.

    Raises UnknownEmotion, NotIndexed, ModelUnavailable and StoreDamaged.
    """
    with open_selected(library) as (store, model), store.snapshot():
        _, similar_by = select_similar(library, store, model, request.similar_by)
        query = resolve_request(request, store, model, library.open_analyzer, library.source, similar_by)
        ranked = store.newest(model.id, filter_of(query), request.limit, before, request.offset)
        is_last = len(ranked) < request.limit
        total = None
        if before is None and not request.offset:
            total = Total(len(ranked)) if is_last else count(store, model, query, most)
        hits = [one.hit for one in ranked]
        if query.tags or query.excluded_tags:
            hits = with_tags(hits, store, [model] if similar_by is None else [model, similar_by])
    return FilesPage(hits, None if is_last else ranked[-1].file_id, total)


def image(library: Library, image_id: str) -> IndexedImage:
    """Return an image by its id, by the model in use. Raises NotIndexed, ModelUnavailable and StoreDamaged."""
    own = bytes.fromhex(image_id)
    with open_selected(library) as (store, model), store.snapshot():
        files = store.files_of_image(own)
        if not files:
            raise _not_indexed(image_id)
        path = next((file.path for file in files if library.source.has_file(file.path)), files[0].path)
        hits = with_tags([ranked.hit for ranked in store.predicted_at(model.id, path)], store, [model])
        if not hits:
            raise NotIndexed(f"The image {image_id[:8]} is not indexed with the model {model.card.name!r}.")
        return IndexedImage(hits, [file.path for file in files], bool(store.hidden_of([own])))


def full_id(library: Library, digits: str) -> str:
    """Return the id of the image whose id begins with some digits. Raises NotIndexed, and UsageError if there are several."""
    library.require_database()
    with library.database.open(reading=True) as store:
        match store.digests_with_prefix(digits):
            case [only]:
                return only.hex()
            case [_, _]:
                raise ambiguous_id(digits.encode())
    raise _not_indexed(digits)


def files_of(library: Library, image_id: str) -> list[ImageFile]:
    """Return the live files of an image, by path. Raises NotIndexed if there are none."""
    library.require_database()
    with library.database.open(reading=True) as store:
        files = store.files_of_image(bytes.fromhex(image_id))
    if not files:
        raise _not_indexed(image_id)
    return files


def open_unchanged(files: Sequence[ImageFile], source: ImageSource) -> OpenFile:
    """Open the first of an image's files whose stamp is the one with which it was indexed.

    A file that waits to be analyzed again has no such stamp; its bytes are compared. Stamp and bytes are those of the open file,
    so that nothing can replace it in between. Raises Unreadable if there is none.
    """
    for known in files:
        with suppress(OSError, ImageError):
            opened = source.open(known.path)
            if _is_unchanged(opened, known):
                size = opened.file.seek(0, os.SEEK_END)  # not every stamp has it
                opened.file.seek(0)
                return OpenFile(opened.file, known.path, size, opened.modified_ns)
            opened.file.close()
    raise changed_file()


def changed_file() -> Unreadable:
    """Return the error for an image of which no file has the bytes with which it was indexed."""
    return Unreadable("Its file is missing or has changed since it was indexed; run moodex index on its folder.")


def _is_unchanged(opened: SourceFile, known: ImageFile) -> bool:
    if known.stamp is not None:
        return opened.stamp.matches(known.stamp)
    if opened.stamp.size > MAX_FILE_BYTES:
        return False
    is_same = digest(opened.file.read(MAX_FILE_BYTES)) == known.digest
    opened.file.seek(0)
    return is_same


def main_hits(library: Library, image_ids: Sequence[str]) -> list[Hit]:
    """Return a hit for each of some images, of its main face or the whole image, in the given order.

    Images that are not indexed are left out. Raises NotIndexed without any, ModelUnavailable and StoreDamaged.
    """
    with open_selected(library) as (store, model), store.snapshot():
        found: dict[str, RankedHit] = {}
        for image_id in dict.fromkeys(image_ids):
            files = store.files_of_image(bytes.fromhex(image_id))
            if not files:
                continue
            path = next((file.path for file in files if library.source.has_file(file.path)), files[0].path)
            hits = store.predicted_at(model.id, path)
            if hits:
                found[image_id] = hits[0]
    if not found:
        raise NotIndexed("None of these images is indexed.")
    return [found[image_id].hit for image_id in dict.fromkeys(image_ids) if image_id in found]


def _not_indexed(image_id: str) -> NotIndexed:
    return NotIndexed(f"No indexed image has the id {image_id[:8]}; run moodex index on its folder.")
