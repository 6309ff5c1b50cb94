"""Roots that moved: recognized before a scan by the names, sizes and times of their files, so that nothing is read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from indexer.domain.errors import ImageError
from indexer.domain.files import FileState
from indexer.domain.path_set import below
from indexer.system.paths import path_below
from indexer.system.text import display_path

if TYPE_CHECKING:
    from indexer.domain.files import FileStamp
    from indexer.ingest.roots import Roots
    from indexer.ports.progress import Progress
    from indexer.ports.sources import ImageSource
    from indexer.ports.store import Store

_MAX_PAIRS = 200
"""Pairs of an old and a new root that are compared at most; of more, the scan recognizes each file that moved by its bytes."""

_COMPARED_FOLDERS = 10
"""Folders of a root whose files are compared, spread over all of them."""


def follow_moved_roots(store: Store, source: ImageSource, roots: Roots, progress: Progress) -> int:
    """Give the paths of new roots to missing ones of which at least half of the files are there; return the number of files.

    Jobs follow, which is told.
    """
    known = set(store.root_paths())
    new = [root for root in roots.available if root not in known and source.is_folder(root)]
    gone = [root for root in known.difference(roots.all()) if not source.exists(root)] if new else []
    if not gone or len(new) * len(gone) > _MAX_PAIRS:
        return 0
    counts = store.count_files([*new, *gone])
    left = sorted(root for root in gone if counts[root])
    folders = store.known_folders(left)
    moved = 0
    for target in (root for root in new if not counts[root]):
        old = next((root for root in left if _is_there(store, source, below(folders, root), root, target)), None)
        if old is not None:
            left.remove(old)
            moved += _move(store, source, old, target, progress)
    return moved


def moved_jobs(store: Store, source: ImageSource, old: bytes, new: bytes) -> dict[bytes, bytes]:
    """Return the folders of jobs at or below `old`, or that are links to such a place, with the paths that they have now."""
    moved = {}
    for root in {root for job in store.jobs() for root in job.roots}:
        inner = path_below(root, old)
        inner = path_below(source.real_path(root), old) if inner is None else inner
        if inner is not None:
            moved[root] = os.path.join(new, inner) if inner else new
    return moved


def _move(store: Store, source: ImageSource, old: bytes, new: bytes, progress: Progress) -> int:
    jobs = moved_jobs(store, source, old, new)
    if jobs:
        progress.warn(f"{display_path(old)} moved to {display_path(new)}: the jobs that index it follow.")
    return store.move_files(old, new, jobs)


def _is_there(store: Store, source: ImageSource, folders: Sequence[bytes], old: bytes, new: bytes) -> bool:
    """Return whether at least half of the files in some of the folders below `old` have the same name, size and time at `new`."""
    files = there = 0
    for folder in folders[:: 1 + len(folders) // _COMPARED_FOLDERS]:
        place = os.path.join(new, path_below(folder, old) or b"")
        for name, file in store.known_files(folder, None).items():
            if file.state is not FileState.GONE:
                files += 1
                there += _has_stamp(os.path.join(place, name), file.stamp, source)
    return 0 < files <= 2 * there


def _has_stamp(path: bytes, known: FileStamp, source: ImageSource) -> bool:
    try:
        stamp = source.stamp(path)
    except (OSError, ImageError):
        return False
    return (stamp.size, stamp.version) == (known.size, known.version)
