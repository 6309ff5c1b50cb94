"""Marks that keep images out of searches and exports. A mark belongs to the image, and its label stays."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from indexer.domain.errors import NotIndexed
from indexer.domain.predictions import LabelAssignment
from indexer.domain.reports import LabelsChanged
from indexer.labels.assign import find_images, require_known

if TYPE_CHECKING:
    from indexer.library import Library
    from indexer.ports.store import Store


def hide(library: Library, paths: Sequence[bytes], hidden: bool, skip_unknown: bool = False) -> LabelsChanged:
    """Hide the images at paths, below folders or with ids, all or none; or show them again.

    `skip_unknown` skips images that are not indexed. Raises NotIndexed, UsageError for ambiguous ids, and WriterBusy.
    """
    library.require_database()
    with library.database.lock_labels(), library.database.open() as store:
        digests: set[bytes] = set()
        skipped = 0
        for images in find_images(store, [LabelAssignment(path, None) for path in paths], orphans_too=False):
            if images.problems and not skip_unknown:
                raise NotIndexed(images.problems[0])
            skipped += len(images.problems)
            digests.update(images.digests)
        changed = _hide(store, digests, hidden)
    return LabelsChanged(changed, len(digests) - changed, skipped)


def hide_images(library: Library, image_ids: Collection[str], hidden: bool) -> LabelsChanged:
    """Hide images by id, all or none; or show them again. Raises NotIndexed and WriterBusy."""
    library.require_database()
    digests = set(map(bytes.fromhex, image_ids))
    with library.database.lock_labels(), library.database.open() as store:
        require_known(store, image_ids)
        changed = _hide(store, digests, hidden)
    return LabelsChanged(changed, len(digests) - changed)


def _hide(store: Store, digests: set[bytes], hidden: bool) -> int:
    """Hide or show images; return the number of those that were not so before."""
    before = store.hidden_of(digests)
    changes = digests - before if hidden else before
    store.hide(dict.fromkeys(changes, hidden))
    return len(changes)
