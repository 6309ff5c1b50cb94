"""Translation of paths to the form in which the store contains them."""

from __future__ import annotations

import os
from collections.abc import Callable


def indexed_path(path: bytes, is_known: Callable[[bytes], bool]) -> bytes:
    """Return the stored form of a path that a user typed; its real path if no form is stored.

    Roots are stored by their real paths; links below them, if they are followed, under their own names. Therefore this resolves
    links in no part of the path, then in ever longer beginnings of it, and returns the first result that `is_known`.
    """
    parts = os.path.abspath(path).split(b"/")
    starts = [b"/".join(parts[:count]) or b"/" for count in range(1, len(parts) + 1)]
    resolved = [os.path.join(os.path.realpath(start), *parts[count:]) for count, start in enumerate(starts, 1)]
    candidates = list(dict.fromkeys(resolved))
    return next((candidate for candidate in candidates[:-1] if is_known(candidate)), candidates[-1])


def is_under(path: bytes, folder: bytes) -> bool:
    """Return whether `path` is `folder` or below it; both are absolute."""
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")
