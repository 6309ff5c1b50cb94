"""Folders that are not folders of the file system, in archives and on servers, in the form that scans read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from indexer.domain.errors import Damaged
from indexer.domain.files import Failure, FileStamp
from indexer.ports.sources import ScannedEntry


class Member(NamedTuple):
    """An image in such a folder. The numbers are those of a `FileStamp`; `problem` says why it cannot be read, if known."""

    size: int
    version: int
    change: int | None
    problem: str = ""

    @property
    def stamp(self) -> FileStamp:
        """Its stamp."""
        return FileStamp(self.size, self.version, self.change)


@dataclass(frozen=True, slots=True)
class MemberEntry:
    """An entry of such a folder, with the methods of `os.DirEntry` that scans need.

    It is an image if it has a `member`, is of a kind that is passed over if that is given, and else a folder.
    """

    name: bytes
    path: bytes
    member: Member | None = None
    passed_over: str = ""

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Return whether it is a folder."""
        return self.member is None and not self.passed_over

    def is_symlink(self) -> bool:
        """Return False: links are passed over, if there are any."""
        return False

    def scanned(self) -> ScannedEntry:
        """Return the entry of an image."""
        stamp = self.member.stamp if self.member else FileStamp(0, 0)
        return (self.name, stamp.size, stamp.version, *(() if stamp.change is None else (stamp.change,)))

    def problems(self) -> dict[bytes, Failure]:
        """Return why it cannot be read, by name, if that is known."""
        return {self.name: Failure(Damaged.kind, self.member.problem)} if self.member and self.member.problem else {}


@dataclass(frozen=True, slots=True)
class InnerFolder:
    """A folder that is not one of the file system: its images, its subfolders, and the kind of what is passed over, by name.

    - `whole`: False if more may be in it. `problem` says why, if that is a failure.
    - `only_if_named`: whether scans enter it only if the user named it.
    """

    path: bytes
    files: Mapping[bytes, Member]
    subfolders: Set[bytes]
    passed_over: Mapping[bytes, str] = field(default_factory=dict)
    whole: bool = True
    problem: str = ""
    only_if_named: bool = False

    def entries(self) -> Iterator[MemberEntry]:
        """Yield what is directly in it."""
        for name, member in self.files.items():
            yield MemberEntry(name, os.path.join(self.path, name), member)
        for name in self.subfolders:
            yield MemberEntry(name, os.path.join(self.path, name))
        for name, kind in self.passed_over.items():
            yield MemberEntry(name, os.path.join(self.path, name), passed_over=kind)
