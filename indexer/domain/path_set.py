"""Sets of paths that are asked for the paths below them."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Collection, Sequence


class PathSet(frozenset[bytes]):
    """Absolute paths, of which there may be thousands: to find one around a path takes a look-up for each folder of that path."""

    @classmethod
    def of(cls, paths: Collection[bytes]) -> PathSet:
        """Return the paths as a set; a set is returned itself."""
        return paths if isinstance(paths, cls) else cls(paths)

    def around(self, path: bytes) -> bytes | None:
        """Return the nearest member that is the path or a folder around it; None without one."""
        while path not in self:
            folder = os.path.dirname(path)
            if folder == path or not folder:
                return None
            path = folder
        return path

    def covers(self, path: bytes) -> bool:
        """Return whether a member is the path or a folder around it."""
        return self.around(path) is not None

    def outermost(self) -> PathSet:
        """Return the members that are not below another member."""
        return PathSet(path for path in self if (folder := os.path.dirname(path)) == path or not self.covers(folder))


def below(paths: Sequence[bytes], folder: bytes) -> Sequence[bytes]:
    """Return those of some sorted absolute paths that are the folder or below it."""
    stem = folder.rstrip(b"/")
    itself = bisect_left(paths, folder)
    own = paths[itself : itself + 1] if paths[itself : itself + 1] == [folder] and folder != stem + b"/" else []
    # "0" is the byte after "/".
    return [*own, *paths[bisect_left(paths, stem + b"/") : bisect_left(paths, stem + b"0")]]
