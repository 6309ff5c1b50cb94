"""The roots of an index run: normalized, none inside another."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from indexer.domain.errors import UsageError
from indexer.system.paths import is_under


def normalize_roots(paths: Sequence[bytes]) -> list[bytes]:
    """Absolute real paths, each once, none inside another. Raises UsageError where one does not exist."""
    for path in paths:
        if not os.path.exists(path):
            raise UsageError(f"{os.fsdecode(path)!r} does not exist; nothing was indexed.")
    roots: list[bytes] = []
    for root in sorted({os.path.realpath(path) for path in paths}):
        if not any(is_under(root, kept) for kept in roots):
            roots.append(root)
    return roots


def split_available_roots(paths: Sequence[bytes], is_known: Callable[[bytes], bool]) -> tuple[list[bytes], list[bytes]]:
    """Split normalized roots into those that exist and those that are missing but known (their disk may not be mounted)."""
    missing = {path: os.path.realpath(path) for path in paths if not os.path.exists(path)}
    away = {path for path, root in missing.items() if is_known(root)}
    roots = normalize_roots([path for path in paths if path not in away])
    apart: list[bytes] = []
    for root in sorted({missing[path] for path in away}):
        if not any(is_under(root, kept) for kept in [*roots, *apart]):
            apart.append(root)
    return roots, apart
