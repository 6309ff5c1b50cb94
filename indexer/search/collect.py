"""Copies of, or links to, the files of search results in a folder. Nothing there is ever replaced."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from indexer.domain.errors import UsageError, disk_error
from indexer.domain.reports import CollectReport

if TYPE_CHECKING:
    from indexer.domain.queries import Hit

_MAX_NAME_BYTES = 255
"""Longest name of a file, in bytes, on common file systems."""

_ID_DIGITS = 8


def collect(hits: Sequence[Hit], folder: bytes, link: bool) -> CollectReport:
    """Copy the file of each hit into a folder, or link to it; the folder is created if it does not exist.

    Files with the same name get the name of their folder, then digits of their ids, appended: 001.png becomes 001-ch2.png. A file
    that is there already, with the same content or as the same link, stays. Raises UsageError for a path that is no folder, and
    MoodexError if the folder cannot be written to.
    """
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise UsageError(f"{os.fsdecode(folder)!r} is not a folder; give --copy-to or --link-to the name of a folder.")
    files = {hit.path: hit for hit in hits}
    in_use = _uses_of_names(files)
    done = present = 0
    missing: list[bytes] = []
    try:
        os.makedirs(folder, exist_ok=True)
        for path, hit in files.items():
            if not os.path.isfile(path) or not (link or os.access(path, os.R_OK)):
                missing.append(path)
                continue
            is_new = _place(path, folder, list(_names(path, hit.image_id, _is_ambiguous(path, in_use))), link)
            done, present = done + is_new, present + (not is_new)
    except OSError as error:
        raise disk_error(f"The folder {os.fsdecode(folder)}", error) from error
    return CollectReport(os.fsdecode(folder), link, done, present, tuple(map(os.fsdecode, missing)))


def distinct_names(hits: Sequence[Hit]) -> Iterator[tuple[Hit, bytes]]:
    """Yield the hit of each file with a name that no other file gets, whatever the case of its letters."""
    files = {hit.path: hit for hit in hits}
    in_use, given = _uses_of_names(files), set[bytes]()
    for path, hit in files.items():
        names = _names(path, hit.image_id, _is_ambiguous(path, in_use))
        name = next(name for name in names if name.lower() not in given)
        given.add(name.lower())
        yield hit, name


def _uses_of_names(paths: Iterable[bytes]) -> Counter[bytes]:
    return Counter(os.path.basename(path).lower() for path in paths)


def _is_ambiguous(path: bytes, in_use: Counter[bytes]) -> bool:
    return in_use[os.path.basename(path).lower()] > 1


def _names(path: bytes, image_id: str, is_ambiguous: bool) -> Iterator[bytes]:
    """Yield the names that a copy of a file may have, the best first."""
    folder, name = os.path.split(path)
    stem, extension = os.path.splitext(name)
    if not is_ambiguous:
        yield name
    parent = os.path.basename(folder)
    ends = [b"-" + parent] if parent else []
    ends += [b"-" + image_id[:_ID_DIGITS].encode()]
    ends += [end + b"-%d" % number for end in ends[-1:] for number in range(2, 1000)]
    for end in ends:
        yield stem[: _MAX_NAME_BYTES - len(end) - len(extension)] + end + extension


def _place(path: bytes, folder: bytes, names: Sequence[bytes], link: bool) -> bool:
    """Copy or link a file under the first free name; return False if one of the names holds it already."""
    for name in names:
        target = os.path.join(folder, name)
        if os.path.lexists(target) and _holds(target, path, link):
            return False
        try:
            if link:
                os.symlink(os.path.abspath(path), target)
            else:
                _copy(path, target)
        except FileExistsError:
            continue
        return True
    raise FileExistsError(f"every name for {os.fsdecode(path)!r} is in use")


def _holds(target: bytes, path: bytes, link: bool) -> bool:
    """Return whether a file in the folder is a link to another file, or a copy of it."""
    if link or os.path.islink(target):
        return os.path.islink(target) and os.path.realpath(target) == os.path.realpath(path)
    return os.path.isfile(target) and filecmp.cmp(target, path, shallow=False)


def _copy(path: bytes, target: bytes) -> None:
    """Copy a file with its times to a name that is free. Raises FileExistsError if it is not."""
    with open(path, "rb") as source, open(target, "xb") as copy:
        try:
            shutil.copyfileobj(source, copy)
        except BaseException:
            os.unlink(target)
            raise
    shutil.copystat(path, target)
