"""What is in an archive: its images by path, as a tree of folders."""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from indexer.sources.entries import Member

MAX_PATH_BYTES = 4096
"""Limit of the path of a member, as of paths on Linux."""


def missing() -> FileNotFoundError:
    """Return the error for a member that an archive does not have."""
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


@dataclass(frozen=True)
class Contents:
    """The images in an archive and in the archives in it, by path; the path of an archive is a folder.

    - `passed_over`: the kind of links and special files, and of members with unsafe names, by path.
    - `broken`: why inner archives cannot be read, by path.
    - `urls`: where the images of a table of URLs are, by path; their bytes are not in the archive.
    """

    files: Mapping[bytes, Member] = field(default_factory=dict)
    passed_over: Mapping[bytes, str] = field(default_factory=dict)
    broken: Mapping[bytes, str] = field(default_factory=dict)
    urls: Mapping[bytes, str] = field(default_factory=dict)

    @cached_property
    def folders(self) -> Mapping[bytes, FolderContents]:
        """Every folder in the archive, by path; b"" is the archive itself."""
        folders: dict[bytes, FolderContents] = defaultdict(FolderContents, {b"": FolderContents()})
        for path, member in self.files.items():
            folder, name = os.path.split(path)
            folders[folder].files[name] = member
            _add_folder(folders, folder)
        for path, kind in self.passed_over.items():
            folder, name = os.path.split(path)
            folders[folder].passed_over[name] = kind
            _add_folder(folders, folder)
        for path, reason in self.broken.items():
            folders[path].problem = reason
            _add_folder(folders, path)
        return dict(folders)

    def to_json(self) -> dict[str, Any]:
        """Return the contents as JSON values. Names are any bytes, so that they are written as Latin-1."""
        return {
            "files": {path.decode("latin-1"): list(member) for path, member in self.files.items()},
            "passed_over": {path.decode("latin-1"): kind for path, kind in self.passed_over.items()},
            "broken": {path.decode("latin-1"): reason for path, reason in self.broken.items()},
            "urls": {path.decode("latin-1"): url for path, url in self.urls.items()},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Contents:
        """Return the contents that `to_json` wrote. Raises ValueError, LookupError or TypeError for anything else."""
        return cls(
            {path.encode("latin-1"): Member(*member) for path, member in values["files"].items()},
            {path.encode("latin-1"): str(kind) for path, kind in values["passed_over"].items()},
            {path.encode("latin-1"): str(reason) for path, reason in values["broken"].items()},
            {path.encode("latin-1"): str(url) for path, url in values["urls"].items()},
        )


@dataclass(slots=True)
class FolderContents:
    """What is directly in a folder of an archive. `problem` says why an inner archive cannot be read."""

    files: dict[bytes, Member] = field(default_factory=dict)
    subfolders: set[bytes] = field(default_factory=set)
    passed_over: dict[bytes, str] = field(default_factory=dict)
    problem: str = ""


def inner_path(name: bytes) -> bytes | None:
    """Return the path of a member below its archive; None for a name that leads out of it, or that no file can have."""
    if name.startswith(b"/") or b"\0" in name or len(name) > MAX_PATH_BYTES:
        return None
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if not parts or b".." in parts or (len(parts[0]) == 2 and parts[0].endswith(b":")):
        return None
    return b"/".join(parts)


def _add_folder(folders: dict[bytes, FolderContents], folder: bytes) -> None:
    """Add a folder to those around it."""
    while folder:
        around, name = os.path.split(folder)
        if name in folders[around].subfolders:
            return
        folders[around].subfolders.add(name)
        folder = around
