"""The roots of a library: what is indexed, what is to be forgotten, and what has moved."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from indexer.domain.errors import NotIndexed, UsageError
from indexer.domain.path_set import PathSet
from indexer.ingest.moved_roots import moved_jobs
from indexer.system.paths import indexed_path, indexed_paths, is_under
from indexer.system.paths_of_ids import path_of_id, paths_of_ids
from indexer.system.text import pluralize

if TYPE_CHECKING:
    from indexer.domain.files import IndexedRoot
    from indexer.library import Library
    from indexer.ports.store import Store

_FORGOTTEN_BEFORE = 1.0
"""`StoreWriter.forget_files` dates files before this time; the grace period of missing files does not concern them."""


@dataclass(frozen=True, slots=True)
class ForgetReport:
    """The number of files that were forgotten, and the roots around them, with which a run would index them again."""

    forgotten: int
    indexed_by: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class MoveReport:
    """The number of files whose paths changed, and the paths before and after."""

    moved: int
    old: bytes
    new: bytes


def list_roots(library: Library) -> list[tuple[IndexedRoot, bool]]:
    """List what is indexed, with whether it exists now, by path. Roots without files are left out if they are missing."""
    if not library.database.exists():
        return []
    with library.database.open(reading=True) as store:
        roots = [(root, library.source.exists(root.path)) for root in store.roots()]
    return [(root, exists) for root, exists in roots if exists or root.files]


def forget(library: Library, paths: Sequence[bytes]) -> ForgetReport:
    """Forget files, also by the ids of their images, and everything below folders at once, whether they exist or not.

    Labels stay with their images.

    Raises NotIndexed for a path with nothing indexed, and WriterBusy.
    """
    library.require_database()
    with library.database.lock_writer(), library.database.open() as store:
        paths = paths_of_ids(paths, store)
        stored = indexed_paths(paths, store.known_paths)
        counts = store.count_files(stored)
        roots = frozenset(store.root_paths())
        for path, known in zip(paths, stored, strict=True):
            if not counts[known] and known not in roots:
                raise NotIndexed(f"Nothing is indexed at {os.fsdecode(path)!r}; nothing was forgotten.")
        forgotten = store.forget_files(stored)
        store.expire(_FORGOTTEN_BEFORE)
        _sync_indexes(library, store)
        remaining = PathSet(store.root_paths())
        around = {root for path in stored if (root := remaining.around(path)) is not None}
    return ForgetReport(forgotten, tuple(sorted(around)))


def move(library: Library, old: bytes, new: bytes) -> MoveReport:
    """Tell the library that a folder or file moved: files, roots and jobs get the new path, and no image is read.

    The old path may be a link to the new one, or the id of an image with one file. Raises UsageError if indexed files are still
    at the old path, if the new path does not exist, is a folder for a file or a file for a folder, or has indexed files of the
    same names, and for the id of an image with several files; NotIndexed if nothing is indexed at the old path; and WriterBusy.
    """
    library.require_database()
    if not library.source.exists(new):
        raise UsageError(f"{os.fsdecode(new)!r} does not exist; give the path where the files are now.")
    with library.database.lock_writer(), library.database.open() as store:
        source, target = indexed_path(path_of_id(old, store), store.known_paths), library.source.real_path(new)
        files = store.present_files(source)
        if not files:
            raise NotIndexed(f"Nothing is indexed at {os.fsdecode(old)!r}; nothing was changed.")
        is_link = library.source.real_path(source) == target
        if not is_link and library.source.exists(source) and any(map(library.source.exists, files)):
            raise UsageError(f"{os.fsdecode(old)!r} is still there; move it first, or index the copy: moodex index NEW")
        if is_under(target, source) or is_under(source, target):
            raise UsageError("One of the two paths is inside the other; index the new one instead.")
        _require_same_kind(old, new, files == [source], not library.source.is_folder(target))
        _require_free_names(new, {target + path[len(source) :] for path in files}.intersection(store.present_files(target)))
        return MoveReport(store.move_files(source, target, moved_jobs(store, library.source, source, target)), source, target)


def _require_same_kind(old: bytes, new: bytes, was_file: bool, is_file: bool) -> None:
    if was_file != is_file:
        before, now = ("file" if file else "folder" for file in (was_file, is_file))
        raise UsageError(f"{os.fsdecode(old)!r} was a {before} and {os.fsdecode(new)!r} is a {now}; nothing was changed.")


def _require_free_names(new: bytes, taken: Collection[bytes]) -> None:
    if taken:
        files = f"{pluralize(len(taken), 'file')} {'is' if len(taken) == 1 else 'are'} indexed"
        advice = f"run moodex forget {shlex.quote(os.fsdecode(new))} first"
        raise UsageError(f"{files} at {os.fsdecode(new)!r} under the same names: {advice}. Nothing was changed.")


def _sync_indexes(library: Library, store: Store) -> None:
    """Make the stored vector indexes current, which lost predictions; that of a model without predictions is deleted."""
    from db.vectors.sync import sync_index

    storage = library.vector_storage()
    for model in store.models():
        sync_index(store, storage, model)
