"""The file that a backup is: an uncompressed ZIP of the database, the user's own models, and a manifest with every digest.

Any program can open it; this one takes nothing from it that the manifest does not name, and nothing whose bytes differ.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from blake3 import blake3

from indexer.domain.errors import StoreDamaged, UsageError
from indexer.system.atomic import replace_file, sync_folder

DATABASE = "moodex.sqlite"
_MANIFEST = "manifest.json"
_FORMAT, _VERSION = "moodex-backup", 1
_ALLOWED = re.compile(r"models/(?!\.)[^/\\\x00-\x1f:]{1,120}\.(safetensors|json|txt)")
_COPY_CHUNK_BYTES = 1 << 20
_MAX_MANIFEST_BYTES = 1 << 24
_UNREADABLE = (
    OSError,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a backup: how many bytes it has, and their BLAKE3 hex digest."""

    bytes: int
    blake3: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds: `members` by name, how many rows of what there are (`rows`), and when it was made."""

    created: str
    rows: Mapping[str, int]
    members: Mapping[str, Member]


Advance = Callable[[int], None]
"""Hears of bytes, and may raise to stop."""


def write_archive(target: Path, files: Mapping[str, Path], rows: Mapping[str, int], advance: Advance) -> Manifest:
    """Write a backup of some files, by their names in it, in one step: there is the old file or the whole new one."""
    members: dict[str, Member] = {}
    manifest = Manifest(datetime.now().astimezone().isoformat(" ", "seconds"), dict(rows), members)

    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, path in files.items():
                with path.open("rb") as source, archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as into:
                    members[name] = _copy(source, into, advance)
            facts = {"format": _FORMAT, "version": _VERSION, **asdict(manifest)}
            archive.writestr(zipfile.ZipInfo(_MANIFEST), json.dumps(facts, indent=1))

    replace_file(target, write)
    return manifest


def read_manifest(path: Path) -> Manifest:
    """What a backup says that it holds. Raises UsageError for a file that is none, StoreDamaged for one that is not whole."""
    if not path.is_file():
        raise UsageError(f"There is no backup {path}.")
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise UsageError(f"{path} is no backup that moodex made.")
    try:
        with zipfile.ZipFile(path) as archive:
            return _manifest(archive, path)
    except _UNREADABLE as error:
        raise _damaged(path, error) from error


def extract(path: Path, manifest: Manifest, folder: Path, advance: Advance) -> None:
    """Write a backup's files into an empty folder, durably, each compared with its digest. Raises StoreDamaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            for name, member in manifest.members.items():
                place = folder / name
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, place.open("xb") as into:
                    found = _copy(source, into, advance, member.bytes)
                    into.flush()
                    os.fsync(into.fileno())
                if found != member:
                    raise ValueError(f"the bytes of {name} are not the ones that were written")
                sync_folder(place.parent)
    except _UNREADABLE as error:
        raise _damaged(path, error) from error


def models_in(folder: Path) -> dict[str, Path]:
    """The files of the user's own models, by the names they have in a backup."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return {f"models/{path.name}": path for path in found if path.is_file() and _ALLOWED.fullmatch(f"models/{path.name}")}


def discard(folder: Path) -> None:
    """Delete a folder and what is in it, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)


def _manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    names = archive.namelist()
    if _MANIFEST not in names:
        raise UsageError(f"{path} is no backup that moodex made: it has no {_MANIFEST}.")
    # Nothing is inflated: what is restored takes no more room than the backup does.
    if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
        raise ValueError("it holds compressed files, which no backup does")
    if archive.getinfo(_MANIFEST).file_size > _MAX_MANIFEST_BYTES:
        raise ValueError(f"its {_MANIFEST} is too long")
    facts: dict[str, Any] = json.loads(archive.read(_MANIFEST))
    if facts["format"] != _FORMAT:
        raise UsageError(f"{path} is no backup that moodex made.")
    if facts["version"] > _VERSION:
        raise UsageError(f"The backup {path} was made by a newer moodex; update moodex to restore it.")
    members = {name: Member(int(one["bytes"]), str(one["blake3"])) for name, one in facts["members"].items()}
    if sorted(names) != sorted([_MANIFEST, *members]):
        raise ValueError("it holds other files than its manifest names")
    if odd := [name for name in members if name != DATABASE and not _ALLOWED.fullmatch(name)]:
        raise ValueError(f"it holds {odd[0]!r}, which no backup has")
    if sum(member.bytes for member in members.values()) > path.stat().st_size:
        raise ValueError("it says that it holds more than it does")
    if DATABASE not in members:
        raise ValueError("it holds no database")
    return Manifest(str(facts["created"]), {str(name): int(number) for name, number in facts["rows"].items()}, members)


def _copy(source: IO[bytes], into: IO[bytes], advance: Advance, most: int | None = None) -> Member:
    """Copy a file, counting and digesting; stops where there is more than there should be."""
    seen, size = blake3(), 0
    while part := source.read(_COPY_CHUNK_BYTES):
        into.write(part)
        seen.update(part)
        size += len(part)
        if most is not None and size > most:
            break
        advance(len(part))
    return Member(size, seen.hexdigest())


def _damaged(path: Path, error: Exception) -> StoreDamaged:
    return StoreDamaged(f"The backup {path} is damaged ({error}); nothing was restored.")
