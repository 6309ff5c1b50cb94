"""Archives as folders: the path of a member is that of its archive, a slash, and its path in the archive."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from indexer.domain.errors import Damaged, ImageError
from indexer.domain.files import Failure, FileStamp, stamp_of
from indexer.ports.sources import ScannedFolder
from indexer.sources.archives.contents import Contents, missing
from indexer.sources.archives.formats import ENCRYPTED
from indexer.sources.archives.kept_contents import KeptContents
from indexer.sources.archives.packages import is_archive_if_named
from indexer.sources.entries import InnerFolder, Member
from indexer.system.optional import require

if TYPE_CHECKING:
    from indexer.sources.archives.processes import ArchiveProcesses
    from indexer.sources.remote.downloads import Downloads


class Place(NamedTuple):
    """A place in an archive: the path of the archive file, its stamp, and the path in it, b"" for the archive itself.

    `modified_ns` is when the archive was modified, in nanoseconds since the epoch.
    """

    archive: bytes
    stamp: FileStamp
    inner: bytes
    modified_ns: int


class FileStatus(NamedTuple):
    """The stamp of a file, and when it was modified, in nanoseconds since the epoch."""

    stamp: FileStamp
    modified_ns: int


def local_status(path: bytes) -> FileStatus | None:
    """Return the status of a file of the file system; None if there is no regular file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return FileStatus(stamp_of(status), status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


class Archives:
    """The archives of a source. Thread-safe; child processes open them.

    - `folder`: where the contents of archives are kept, None to keep them in memory only.
    - `status`: returns the status of a file, None if there is none; it may raise ImageError, and so may all methods then.
    - `reaches_private`: whether the images of tables of URLs may be in private networks.
    """

    def __init__(
        self,
        folder: Path | None = None,
        status: Callable[[bytes], FileStatus | None] = local_status,
        reaches_private: bool = False,
    ) -> None:
        self._kept = KeptContents(folder)
        self._status, self._reaches_private = status, reaches_private

    @cached_property
    def _downloads(self) -> Downloads:
        require("urllib3", "urllib3", "objects", "A table of URLs")
        from indexer.sources.remote.downloads import Downloads

        return Downloads(self._reaches_private)

    @property
    def _processes(self) -> ArchiveProcesses:
        # Imported when an archive is opened: most commands open none.
        from indexer.sources.archives.processes import shared_processes

        return shared_processes()

    def is_archive(self, path: bytes) -> bool:
        """Return whether a path is that of a file that scans open as an archive."""
        place = self.locate(path)
        return place is not None and not place.inner

    def locate(self, path: bytes) -> Place | None:
        """Return the place of a path at or below an archive; None for any other path. The member need not exist."""
        for archive in _possible_archives(path):
            status = self._status(archive)
            if status is not None:
                return Place(archive, status.stamp, path[len(archive) + 1 :], status.modified_ns)
            self._kept.forget(archive)
        return None

    def folder(self, path: bytes) -> InnerFolder | None:
        """Return an archive or a folder in it; None if there is no such folder.

        Raises ImageError if the archive cannot be read.
        """
        place = self.locate(path)
        if place is None:
            return None
        contents = self._contents(place)
        here = contents.folders.get(place.inner)
        if here is None:
            return None
        if here.problem:
            raise Damaged(here.problem)
        is_table = bool(contents.urls) and not place.inner
        return InnerFolder(path, here.files, here.subfolders, here.passed_over, only_if_named=is_table)

    def scan_member(self, path: bytes) -> ScannedFolder:
        """Scan a member of an archive that a user named."""
        folder, name = os.path.split(path)
        try:
            inside = self.folder(folder)
        except ImageError as error:
            return ScannedFolder(folder, whole=False, problem=Failure(error.kind, str(error)))
        entries = [entry for entry in inside.entries() if entry.name == name and not entry.is_dir()] if inside else []
        problems = {name: problem for entry in entries for name, problem in entry.problems().items()}
        return ScannedFolder(folder, tuple(entry.scanned() for entry in entries), problems, whole=False)

    def is_folder(self, path: bytes) -> bool:
        """Return whether a path is that of an archive, be it readable or not, or of a folder in a readable one."""
        place = self.locate(path)
        if place is None or not place.inner:
            return place is not None
        try:
            return place.inner in self._contents(place).folders
        except (ImageError, FileNotFoundError):
            return False

    def has_file(self, path: bytes) -> bool:
        """Return whether a path is that of a member. Of an archive that cannot be read, nothing counts as missing."""
        place = self.locate(path)
        if place is None or not place.inner:
            return False
        try:
            return place.inner in self._contents(place).files
        except ImageError:
            return True
        except FileNotFoundError:
            return False

    def member(self, place: Place) -> Member:
        """Return a member. Raises FileNotFoundError if it does not exist, and ImageError if it cannot be read."""
        member = self._contents(place).files.get(place.inner)
        if member is None:
            raise missing()
        if member.problem:
            raise Damaged(member.problem)
        return member

    def read(self, place: Place) -> tuple[bytes, FileStamp]:
        """Read a member and its stamp. Raises what `member` raises."""
        member = self.member(place)
        url = self._contents(place).urls.get(place.inner)
        if url is not None:
            return self._downloads.read(url), member.stamp
        data = self._processes.read(place.archive, place.stamp, place.inner)
        if len(data) != member.size:
            raise Damaged("its size differs from the one that its archive states")
        return data, member.stamp

    def _contents(self, place: Place) -> Contents:
        found = self._kept.get(place.archive, place.stamp)
        if found is None:
            try:
                found = self._processes.contents(place.archive, place.stamp)
            except Damaged as error:
                found = error
            self._kept.keep(place.archive, place.stamp, found)
        if isinstance(found, Damaged):
            raise Damaged(str(found))
        if found.files and all(member.problem == ENCRYPTED for member in found.files.values()):
            raise Damaged(ENCRYPTED)
        return found


def _possible_archives(path: bytes) -> Iterator[bytes]:
    """Yield the path and those above it that have the extension of an archive that can be read, outer ones first."""
    end = 0
    for part in path.split(b"/"):
        end += len(part)
        if part and is_archive_if_named(part):
            yield path[:end]
        end += 1
