"""Where a picture or folder lies for the store, however it is named."""

from __future__ import annotations

import os
from collections.abc import Callable


def indexed_path(path: bytes, is_known: Callable[[bytes], bool]) -> bytes:
    """The path under which something is known, given as a person names it, which `is_known` tells; its real path if it is not.

    Roots are indexed by their real paths, and links below them, where they are followed, under their own: the first of the ways
    to resolve the links in the beginning of a path that leads to something known is taken, that without any first.
    """
    parts = os.path.abspath(path).split(b"/")
    starts = [b"/".join(parts[:count]) or b"/" for count in range(1, len(parts) + 1)]
    ways = [os.path.join(os.path.realpath(start), *parts[count:]) for count, start in enumerate(starts, 1)]
    different = list(dict.fromkeys(ways))
    return next((way for way in different[:-1] if is_known(way)), different[-1])


def is_under(path: bytes, folder: bytes) -> bool:
    """Whether `path` is `folder` or lies below it; both absolute."""
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")
