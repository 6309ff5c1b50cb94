"""The user's labels, and those that the model strongly disagrees with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from indexer.domain.predictions import LabelAssignment
from indexer.labels.assign import apply_labels, attach_label, require_known
from indexer.labels.conflicts import find_conflicts
from indexer.registry.selection import open_selected

if TYPE_CHECKING:
    from indexer.domain.predictions import LabeledImage
    from indexer.domain.reports import LabelConflict, LabelsChanged
    from indexer.library import Library


def label(library: Library, assignments: Sequence[LabelAssignment], new: bool, skip_unknown: bool = False) -> LabelsChanged:
    """Apply label assignments, all or none.

    `new` allows emotions that moodex does not know; `skip_unknown` skips images that are not indexed.

    Raises UsageError, UnknownEmotion, NotIndexed and WriterBusy.
    """
    library.require_database()
    with library.database.lock_labels(), library.database.open() as store:
        return apply_labels(store, assignments, new, skip_unknown)


class Relabeled(NamedTuple):
    """The result of labeling images by id: the numbers of images, and the label of each before; None for no label."""

    changed: LabelsChanged
    before: Mapping[str, str | None]


def label_images(library: Library, emotions: Mapping[str, str | None], new: bool) -> Relabeled:
    """Set the labels of images by id, all or none; None removes a label. `new` allows emotions that moodex does not know.

    Raises UsageError, UnknownEmotion, NotIndexed and WriterBusy.
    """
    library.require_database()
    assignments = [LabelAssignment(b"", emotion, bytes.fromhex(image_id)) for image_id, emotion in emotions.items()]
    with library.database.lock_labels(), library.database.open() as store:
        require_known(store, emotions)
        before = store.labels_of(list(map(bytes.fromhex, emotions)))
        changed = apply_labels(store, assignments, new)
    return Relabeled(changed, {image_id: before.get(bytes.fromhex(image_id)) for image_id in emotions})


def attach(library: Library, digest_prefix: str, path: bytes) -> LabelsChanged:
    """Give an orphaned label to the images at a path; see `indexer.labels.assign.attach_label`."""
    library.require_database()
    with library.database.lock_labels(), library.database.open() as store:
        return attach_label(store, digest_prefix, path)


def list_labels(library: Library, orphans: bool = False) -> list[LabeledImage]:
    """List every labeled image, or only those without a file. Their path is the last one that they had. Raises NotIndexed."""
    library.require_database()
    with library.database.open(reading=True) as store:
        labels = store.labeled_images()
    wanted = [image for image in labels if image.path is None] if orphans else labels
    return [image if image.path is not None else replace(image, path=image.last_path) for image in wanted]


def list_conflicts(library: Library, limit: int) -> list[LabelConflict]:
    """List the labels that the model in use disagrees with most. Raises NotIndexed and ModelUnavailable."""
    with open_selected(library) as (store, model), store.snapshot():
        return find_conflicts(store, model, limit)
