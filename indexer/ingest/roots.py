"""The roots of an index run: normalized, none inside another."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from indexer.domain.errors import UsageError
from indexer.domain.path_set import PathSet

if TYPE_CHECKING:
    from indexer.ports.sources import ImageSource


class Roots(NamedTuple):
    """The roots of a run: those that exist, and those that are missing but indexed (their disk may not be mounted)."""

    available: Sequence[bytes]
    missing: Sequence[bytes] = ()

    def all(self) -> list[bytes]:
        """Return the available and the missing roots."""
        return [*self.available, *self.missing]


def normalize_roots(paths: Sequence[bytes], source: ImageSource) -> list[bytes]:
    """Return absolute real paths, each once, none inside another. Raises UsageError for a path that does not exist."""
    for path in paths:
        if not source.exists(path):
            raise UsageError(f"{os.fsdecode(path)!r} does not exist; nothing was indexed.")
    return _outermost(map(source.real_path, paths), [])


def split_available_roots(paths: Sequence[bytes], source: ImageSource, known: Callable[[Collection[bytes]], set[bytes]]) -> Roots:
    """Normalize roots, and separate those that exist from those that are missing but indexed.

    No root is inside another. `known` returns those of some roots that are indexed. Raises UsageError for a path that neither
    exists nor is indexed.
    """
    missing = {path: source.real_path(path) for path in paths if not source.exists(path)}
    indexed = known(missing.values())
    available = normalize_roots([path for path in paths if missing.get(path) not in indexed], source)
    return Roots(available, _outermost((root for root in missing.values() if root in indexed), available))


def _outermost(paths: Iterable[bytes], around: Sequence[bytes]) -> list[bytes]:
    """Return the paths that are inside neither another path nor one of the folders `around`, sorted."""
    candidates = frozenset(paths)
    folders = frozenset(around)
    every = PathSet(candidates | folders)
    return sorted(path for path in candidates - folders if not _is_inside(path, every))


def _is_inside(path: bytes, folders: PathSet) -> bool:
    """Return whether a path is inside one of the folders, other than itself."""
    around = os.path.dirname(path)
    return around != path and folders.covers(around)
