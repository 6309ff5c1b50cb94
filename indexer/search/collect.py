"""Copies of, or links to, the files of search results in a folder. Nothing there is ever replaced."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from indexer.domain.errors import ImageError, UsageError, disk_error
from indexer.domain.reports import CollectReport

if TYPE_CHECKING:
    from indexer.domain.queries import Hit
    from indexer.ports.sources import ImageSource, SourceFile

_MAX_NAME_BYTES = 255
"""Longest name of a file, in bytes, on common file systems."""

_ID_DIGITS = 8
_CHUNK_BYTES = 1 << 20


def collect(hits: Sequence[Hit], folder: bytes, source: ImageSource, link: bool) -> CollectReport:
    """Copy the file of each hit into a folder, or link to it; the folder is created if it does not exist.

    Files with the same name get the name of their folder, then digits of their ids, appended: 001.png becomes 001-ch2.png. A file
    that is there already, with the same content or as the same link, stays. Raises UsageError for a path that is no folder, and
    for links to files in archives and buckets; MoodexError if the folder cannot be written to.
    """
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise UsageError(f"{os.fsdecode(folder)!r} is not a folder; give --copy-to or --link-to the name of a folder.")
    files = {hit.path: hit for hit in hits}
    if link:
        _require_local(files, source)
    in_use = _uses_of_names(files)
    done = present = 0
    missing: list[bytes] = []
    try:
        os.makedirs(folder, exist_ok=True)
        for path, hit in files.items():
            names = list(_names(path, hit.image_id, _is_ambiguous(path, in_use)))
            try:
                is_new = _link(path, folder, names) if link else _copy(source.open(path), folder, names)
            except (FileNotFoundError, ImageError):
                missing.append(path)
            else:
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


def _require_local(paths: Iterable[bytes], source: ImageSource) -> None:
    for path in paths:
        if source.has_file(path) and source.local_path(path) is None:
            raise UsageError(f"{os.fsdecode(path)!r} is in an archive or a bucket, where no link can point; use --copy-to.")


def _link(path: bytes, folder: bytes, names: Sequence[bytes]) -> bool:
    """Link to a file under the first free name; return False if one of the names is such a link already."""
    if not os.path.isfile(path):
        raise FileNotFoundError(path)
    for name in names:
        target = os.path.join(folder, name)
        if os.path.islink(target) and os.path.realpath(target) == os.path.realpath(path):
            return False
        with suppress(FileExistsError):
            os.symlink(os.path.abspath(path), target)
            return True
    raise _no_free_name(path)


def _copy(opened: SourceFile, folder: bytes, names: Sequence[bytes]) -> bool:
    """Copy an open file, with its time, under the first free name; return False if one of the names holds it already."""
    with opened.file as file:
        for name in names:
            target = os.path.join(folder, name)
            if os.path.lexists(target) and _holds(target, file):
                return False
            with suppress(FileExistsError):
                _write(target, file)
                os.utime(target, ns=(opened.modified_ns, opened.modified_ns))
                return True
    raise _no_free_name(names[0])


def _holds(target: bytes, file: BinaryIO) -> bool:
    """Return whether a file in the folder is a copy of an open file."""
    if os.path.islink(target) or not os.path.isfile(target):
        return False
    file.seek(0)
    with open(target, "rb") as copy:
        while True:
            data = file.read(_CHUNK_BYTES)
            if data != copy.read(_CHUNK_BYTES):
                return False
            if not data:
                return True


def _write(target: bytes, file: BinaryIO) -> None:
    """Copy an open file to a name that is free. Raises FileExistsError if it is not."""
    file.seek(0)
    with open(target, "xb") as copy:
        try:
            shutil.copyfileobj(file, copy)
        except BaseException:
            os.unlink(target)
            raise


def _no_free_name(path: bytes) -> FileExistsError:
    return FileExistsError(f"every name for {os.fsdecode(path)!r} is in use")
