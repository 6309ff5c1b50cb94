"""Ids of images in place of paths: searches print them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from indexer.domain.errors import UsageError
from indexer.domain.image_ids import ambiguous_id, id_prefix

if TYPE_CHECKING:
    from indexer.ports.store_reader import StoreReader


def paths_of_ids(paths: Sequence[bytes], store: StoreReader) -> list[bytes]:
    """Return paths that a user typed, with the paths of all files of an image in place of its id, or of its first digits.

    What is on the disk, or indexed, under such a name takes precedence; what nothing has stays. Raises UsageError if the ids of
    several images begin with the digits.
    """
    digits = {path: prefix for path in paths if (prefix := id_prefix(path)) is not None and not os.path.lexists(path)}
    known = store.known_paths({os.path.abspath(path) for path in digits})
    files = {path: _files(path, prefix, store) for path, prefix in digits.items() if os.path.abspath(path) not in known}
    return [file for path in paths for file in files.get(path) or [path]]


def path_of_id(path: bytes, store: StoreReader) -> bytes:
    """Return a path that a user typed, or that of the only file of an image in place of its id; see `paths_of_ids`.

    Raises UsageError if the image has several files.
    """
    files = paths_of_ids([path], store)
    if len(files) > 1:
        raise UsageError(f"The image {os.fsdecode(path)!r} has {len(files)} files; give the path of one of them.")
    return files[0]


def _files(path: bytes, digits: str, store: StoreReader) -> list[bytes]:
    match store.digests_with_prefix(digits):
        case [digest]:
            return [file.path for file in store.files_of_image(digest)]
        case [_, _]:
            raise ambiguous_id(path)
    return []
