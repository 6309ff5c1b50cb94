"""The roots of an index run: normalized, none inside another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from indexer.domain.errors import UsageError
from indexer.system.paths import is_under

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


def split_available_roots(paths: Sequence[bytes], source: ImageSource, is_known: Callable[[bytes], bool]) -> Roots:
    """Normalize roots, and separate those that exist from those that are missing but indexed.

    No root is inside another. Raises UsageError for a path that neither exists nor is indexed: `is_known` is false for it.
    """
    missing = {path: source.real_path(path) for path in paths if not source.exists(path)}
    indexed = {path for path, root in missing.items() if is_known(root)}
    available = normalize_roots([path for path in paths if path not in indexed], source)
    return Roots(available, _outermost((missing[path] for path in indexed), available))


def _outermost(paths: Iterable[bytes], around: Sequence[bytes]) -> list[bytes]:
    """Return the paths that are inside neither another path nor one of the folders `around`."""
    outermost: list[bytes] = []
    for path in sorted(set(paths)):
        if not any(is_under(path, folder) for folder in [*around, *outermost]):
            outermost.append(path)
    return outermost
