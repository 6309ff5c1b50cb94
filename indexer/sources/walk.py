"""The walk of a scan: folders and what is in them, sorted by the rules that decide which files are images."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from indexer.domain.errors import ImageError, UsageError
from indexer.domain.files import Failure, stamp_of
from indexer.domain.system_files import is_system_entry
from indexer.ports.sources import (
    EXCLUDED,
    HIDDEN,
    LARGE_VIDEO,
    LINK,
    MAX_VIDEO_BYTES,
    NO_EXTENSION,
    OTHER_FILE_SYSTEM,
    TABLE_EXTENSIONS,
    ScannedEntry,
    ScannedFolder,
    ScanOptions,
    extension_of,
    is_video,
)
from indexer.sources.archives.packages import archive_extension, is_readable_archive
from indexer.sources.entries import InnerFolder, MemberEntry
from indexer.system.ignore_rules import IgnoreRules, check_exclude_patterns
from indexer.system.safe_read import read_bounded

IGNORE_FILE, NO_MEDIA = b".moodexignore", b".nomedia"
"""A file with patterns for the entries of its folder and those below, and one that leaves out its folder with all below."""

MAX_IGNORE_FILE_BYTES = 1 << 24

_MAX_EXTENSION_LENGTH = 12
"""A longer ending of a name is not an extension."""


_Entry = os.DirEntry[bytes] | MemberEntry
"""An entry of a folder, or of an archive."""

OpenInner = Callable[[bytes], InnerFolder | None]


class _UnusableIgnoreFile(Exception):
    """An ignore file that cannot be read, or has an invalid pattern."""


class _RulesBelow(NamedTuple):
    """Patterns for the entries below a folder."""

    folder: bytes
    rules: IgnoreRules


@dataclass(slots=True)
class Walk:
    """The scan of a folder and those below.

    `open_inner` returns a folder that is not one of the file system, and None for one that is; it may raise ImageError.
    `read_file` returns the bytes of an ignore file; it may raise OSError, ValueError and ImageError.
    """

    root: bytes
    options: ScanOptions
    open_inner: OpenInner
    read_file: Callable[[bytes], bytes] = lambda path: read_bounded(Path(os.fsdecode(path)), MAX_IGNORE_FILE_BYTES)
    first: tuple[_RulesBelow, ...] = field(init=False)
    last: tuple[_RulesBelow, ...] = field(init=False)
    own_folder: tuple[int, int] | None = field(init=False)
    visited: set[tuple[int, int]] = field(default_factory=set)
    device: int | None = field(init=False)
    """The file system of the root, if the scan stays on it; else None."""

    def __post_init__(self) -> None:
        """Sort the rules: the first ones override those of ignore files, which override the last ones."""
        self.first = self._rules(self.root, self.options.exclude)
        self.last = self._rules(self.root, self.options.always_exclude)
        self.device = _device(self.root) if self.options.one_file_system else None
        self.own_folder = _identity(self.options.own_folder) if self.options.own_folder else None

    @staticmethod
    def _rules(folder: bytes, patterns: Sequence[str]) -> tuple[_RulesBelow, ...]:
        rules = _parsed(tuple(patterns)) if patterns else None
        return (_RulesBelow(folder, rules),) if rules else ()

    def folders(self) -> Iterator[ScannedFolder]:
        stack: list[tuple[bytes, tuple[_RulesBelow, ...]]] = [(self.root, ())]
        while stack:
            folder, rules = stack.pop()
            if not self._enter(folder):
                continue
            try:
                inner = self.open_inner(folder)
                if inner is not None and inner.only_if_named and folder != self.root:
                    continue
                listed = _listed(folder, inner)
                if any(entry.name == NO_MEDIA for entry in listed) and folder != self.root:
                    continue
                if any(entry.name == IGNORE_FILE for entry in listed):
                    rules = self._rules(folder, _patterns(self.read_file, os.path.join(folder, IGNORE_FILE))) + rules
            except _UnusableIgnoreFile as error:
                yield ScannedFolder(folder, problem=unreadable(str(error)))
                continue
            except ImageError as error:
                yield ScannedFolder(folder, problem=Failure(error.kind, str(error)))
                continue
            except OSError as error:
                yield ScannedFolder(folder, problem=unreadable(f"the folder cannot be listed: {error.strerror}"))
                continue
            scanned, subfolders = self._sort(folder, listed, self.first + rules + self.last)
            yield scanned if inner is None or inner.whole else replace(scanned, whole=False)
            if inner is not None and inner.problem:
                yield ScannedFolder(folder, problem=unreadable(inner.problem))
            stack.extend((subfolder, rules) for subfolder in reversed(subfolders))

    def _enter(self, folder: bytes) -> bool:
        if self.own_folder is None and not self.options.follow_symlinks:
            return True
        identity = _identity(folder)
        if identity is None:
            return True  # listing the folder will report the error
        if identity == self.own_folder or identity in self.visited:
            return False
        if self.options.follow_symlinks:
            self.visited.add(identity)
        return True

    def _sort(self, folder: bytes, entries: Sequence[_Entry], rules: Sequence[_RulesBelow]) -> tuple[ScannedFolder, list[bytes]]:
        """Return the image files among the entries of a folder, and the subfolders to scan."""
        files: list[ScannedEntry] = []
        subfolders: list[bytes] = []
        system_entries: list[bytes] = []
        problems: dict[bytes, Failure] = {}
        skipped: list[tuple[bytes, str]] = []
        named = self.options.named
        for entry in entries:
            name = entry.name
            is_folder = _is_folder(entry, self.options.follow_symlinks)
            is_archive = not is_folder and _is_archive(entry, self.options.follow_symlinks)
            is_named = bool(named) and not (is_folder or is_archive) and entry.path in named and not _is_table(name)
            if name.startswith(b".") and not is_named and not is_system_entry(name, is_folder):
                skipped.append((name, HIDDEN))
                continue
            if not self.options.follow_symlinks and entry.is_symlink():
                skipped.append((name, LINK))
                continue
            excluded = _decide(rules, entry.path, is_folder) if rules else None
            if isinstance(entry, MemberEntry) and entry.passed_over:
                skipped.append((name, entry.passed_over))
            elif excluded:
                skipped.append((name, EXCLUDED))
            elif not (is_folder or is_archive or is_named or self.options.find(name)):
                skipped.append((name, _kind(name)))
            elif excluded is None and is_system_entry(name, is_folder):
                system_entries.append(name)
            elif is_folder and self.device is not None and _device(entry.path) != self.device:
                skipped.append((name, OTHER_FILE_SYSTEM))
            elif is_folder or is_archive:
                subfolders.append(entry.path)
            else:
                file = _status(entry, self.options.follow_symlinks, problems)
                if file[1] > MAX_VIDEO_BYTES and is_video(name) and not is_named:
                    skipped.append((name, LARGE_VIDEO))
                else:
                    files.append(file)
        scanned = ScannedFolder(
            folder,
            tuple(sorted(files)),
            problems,
            system_entries=tuple(sorted(system_entries)),
            skipped=tuple(sorted(skipped)),
        )
        return scanned, sorted(subfolders)


def _listed(folder: bytes, inner: InnerFolder | None) -> Sequence[_Entry]:
    """Return the entries of a folder. Raises OSError."""
    if inner is not None:
        return list(inner.entries())
    with os.scandir(folder) as entries:
        return list(entries)


def _status(entry: _Entry, follow: bool, problems: dict[bytes, Failure]) -> ScannedEntry:
    """Return the entry of a file; add the reason why it cannot be an image, if known, to `problems`."""
    if isinstance(entry, MemberEntry):
        problems.update(entry.problems())
        return entry.scanned()
    try:
        status = entry.stat(follow_symlinks=follow)
    except OSError as error:
        problems[entry.name] = unreadable(f"its status cannot be read: {error.strerror}")
        return entry.name, 0, 0
    if stat.S_ISREG(status.st_mode):
        return scanned_entry(entry.name, status)
    problems[entry.name] = not_an_image()
    return entry.name, 0, 0


def scanned_entry(name: bytes, status: os.stat_result) -> ScannedEntry:
    stamp = stamp_of(status)
    return name, stamp.size, stamp.version, stamp.change or 0


@lru_cache(maxsize=4)
def _parsed(patterns: tuple[str, ...]) -> IgnoreRules:
    """Parse patterns; the last ones are kept, because a run may scan thousands of roots with thousands of patterns."""
    return IgnoreRules(patterns)


def _decide(rules: Sequence[_RulesBelow], path: bytes, is_folder: bool) -> bool | None:
    """Return whether the first rules that concern a path leave it out; None if none do."""
    for folder, patterns in rules:
        relative = os.fsdecode(path[len(folder.rstrip(b"/")) + 1 :])
        excluded = patterns.decide(relative, is_folder)
        if excluded is not None:
            return excluded
    return None


def _patterns(read_file: Callable[[bytes], bytes], path: bytes) -> list[str]:
    """Read the patterns of an ignore file. Raises `_UnusableIgnoreFile`: then, nothing may be indexed by mistake."""
    try:
        data = read_file(path)
        is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # some editors write it
        text = data.decode("utf-16") if is_utf16 else os.fsdecode(data)
        patterns = text.removeprefix("\ufeff").splitlines()
        check_exclude_patterns(patterns)
    except (OSError, ValueError, UsageError, ImageError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _UnusableIgnoreFile(f"its {os.fsdecode(IGNORE_FILE)} cannot be used: {reason}") from error
    return patterns


def _kind(name: bytes) -> str:
    """Return the kind of a file without an image extension."""
    if (archive := archive_extension(name)) is not None:
        return os.fsdecode(archive)
    extension = os.fsdecode(name[name.rfind(b".") :].lower()) if b"." in name else ""
    return extension if 1 < len(extension) <= _MAX_EXTENSION_LENGTH and extension.isprintable() else NO_EXTENSION


def _is_archive(entry: _Entry, follow: bool) -> bool:
    """Return whether an entry is an archive that can be opened. The archives in an archive are folders of its contents."""
    return isinstance(entry, os.DirEntry) and is_readable_archive(entry.name) and entry.is_file(follow_symlinks=follow)


def _is_table(name: bytes) -> bool:
    """Return whether a file that is a root of its own has its images at URLs: this scan does not open it."""
    return extension_of(name) in TABLE_EXTENSIONS


def _is_folder(entry: _Entry, follow: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:  # for example a link to itself; if it has an image extension, _status reports the error
        return False


def not_an_image() -> Failure:
    return Failure("damaged", "it is a pipe, socket or device, not an image")


def unreadable(reason: str) -> Failure:
    return Failure("unreadable", reason)


def _device(folder: bytes) -> int | None:
    identity = _identity(folder)
    return None if identity is None else identity[0]


def _identity(folder: bytes) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino
