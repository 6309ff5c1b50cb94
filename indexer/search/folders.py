"""The tree of the folders with indexed images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from indexer.domain.errors import NotIndexed
from indexer.domain.path_set import PathSet

if TYPE_CHECKING:
    from indexer.library import Library

_ID_BYTES = 16


@dataclass(slots=True)
class FolderNode:
    """A folder: its path, the number of live files at and below it, and the paths of the folders directly in it, sorted."""

    path: bytes
    files: int = 0
    children: list[bytes] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The id by which a client names the folder."""
        return path_id(self.path)


class FolderTree:
    """The folders with indexed images, from the roots on. A folder outside of all roots is a root itself."""

    def __init__(self, counts: Mapping[bytes, int], roots: Collection[bytes]) -> None:
        """`counts` are the numbers of live files directly in each folder."""
        self._nodes: dict[bytes, FolderNode] = {}
        indexed = PathSet(roots)
        tops = PathSet(indexed.around(folder) or folder for folder in counts).outermost()
        self.roots = sorted(tops)
        for folder, files in counts.items():
            self._add(folder, files, tops.around(folder) or folder)
        for node in self._nodes.values():
            node.children.sort()
        self._by_id = {node.id: node for node in self._nodes.values()}

    def node(self, path: bytes) -> FolderNode:
        """Return the folder at a path of this tree."""
        return self._nodes[path]

    def find(self, folder_id: str) -> FolderNode:
        """Return a folder by its id. Raises NotIndexed."""
        node = self._by_id.get(folder_id)
        if node is None:
            raise NotIndexed("No folder with indexed images has this id any more; reload the list of folders.")
        return node

    def way_to(self, node: FolderNode) -> list[FolderNode]:
        """Return the folders from a root down to a folder."""
        way = [node]
        while way[-1].path not in self.roots:
            way.append(self._nodes[os.path.dirname(way[-1].path)])
        return way[::-1]

    def _add(self, folder: bytes, files: int, root: bytes) -> None:
        """Add the files of a folder to it and to the folders around it, up to its root."""
        path, below = folder, None
        while True:
            is_new = path not in self._nodes
            node = self._nodes.setdefault(path, FolderNode(path))
            node.files += files
            if below is not None:
                node.children.append(below)
            if path == root:
                return
            path, below = os.path.dirname(path), path if is_new else None


def folder_tree(library: Library) -> FolderTree:
    """Return the folders of a library; none before anything was indexed. Raises StoreDamaged."""
    if not library.database.exists():
        return FolderTree({}, ())
    with library.database.open(reading=True) as store, store.snapshot():
        return FolderTree(store.files_by_folder(), store.root_paths())


def path_id(path: bytes) -> str:
    """Return the id of a path: 32 hex digits, the same in every process."""
    return hashlib.blake2b(path, digest_size=_ID_BYTES).hexdigest()
