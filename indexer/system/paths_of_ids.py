"""Ids of images in place of paths: searches print them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from indexer.domain.image_ids import ambiguous_id, id_prefix

if TYPE_CHECKING:
    from indexer.ports.store_reader import StoreReader


def paths_of_ids(paths: Sequence[bytes], store: StoreReader) -> list[bytes]:
    """Return paths that a user typed, with the paths of all files of an image in place of its id, or of its first digits.

    What is on the disk, or indexed, under such a name takes precedence; what nothing has stays. Raises UsageError if the ids of
    several images begin with the digits.
    """
    found: list[bytes] = []
    for path in paths:
        digits = id_prefix(path)
        if digits is None or os.path.lexists(path) or store.known_paths([os.path.abspath(path)]):
            found.append(path)
            continue
        match store.digests_with_prefix(digits):
            case [digest]:
                found += [file.path for file in store.files_of_image(digest)] or [path]
            case [_, _]:
                raise ambiguous_id(path)
            case _:
                found.append(path)
    return found
