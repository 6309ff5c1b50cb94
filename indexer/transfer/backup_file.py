"""The backup file: an uncompressed ZIP of the database, the user's own models, and a manifest with every digest.

Any program can open it. moodex extracts only files that the manifest names and whose digests match.
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

from indexer.domain.errors import FULL_ERRNOS, StoreDamaged, UsageError, disk_error
from indexer.system.atomic import replace_file, sync_folder

DATABASE = "moodex.sqlite"
_MANIFEST = "manifest.json"
_FORMAT, _VERSION = "moodex-backup", 1
_ALLOWED_NAME = re.compile(r"models/(?!\.)[^/\\\x00-\x1f:]{1,120}\.(safetensors|json|txt)")
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
    """A file in a backup: its size in bytes and its BLAKE3 hex digest."""

    bytes: int
    blake3: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of a backup: its time, the rows of each table, and the files by name."""

    created: str
    rows: Mapping[str, int]
    members: Mapping[str, Member]


Advance = Callable[[int], None]
"""Called with a number of bytes that are done; may raise to stop."""


def write_archive(target: Path, files: Mapping[str, Path], rows: Mapping[str, int], advance: Advance) -> Manifest:
    """Write a backup of files, by their names in the archive, and replace `target` atomically."""
    members: dict[str, Member] = {}
    manifest = Manifest(datetime.now().astimezone().isoformat(" ", "seconds"), dict(rows), members)

    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, path in files.items():
                with path.open("rb") as source, archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as destination:
                    members[name] = _copy(source, destination, advance)
            facts = {"format": _FORMAT, "version": _VERSION, **asdict(manifest)}
            archive.writestr(zipfile.ZipInfo(_MANIFEST), json.dumps(facts, indent=1))

    replace_file(target, write)
    return manifest


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of a backup.

    Raises UsageError for a file that is not a backup, StoreDamaged for a damaged one.
    """
    if not path.is_file():
        problem = "is not a file" if path.exists() else "does not exist"
        raise UsageError(f"The backup {path} {problem}; give the file that moodex backup wrote.")
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise UsageError(f"{path} is not a backup of moodex.")
    try:
        with zipfile.ZipFile(path) as archive:
            return _manifest(archive, path)
    except _UNREADABLE as error:
        raise _damaged(path, error) from error


def extract(path: Path, manifest: Manifest, folder: Path, advance: Advance) -> None:
    """Write a backup's files durably into an empty folder, and compare each with its digest.

    Raises StoreDamaged for a damaged backup, and MoodexError if the disk is full.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for name, member in manifest.members.items():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, target.open("xb") as destination:
                    copied = _copy(source, destination, advance, member.bytes)
                    destination.flush()
                    os.fsync(destination.fileno())
                if copied != member:
                    raise ValueError(f"the bytes of {name} have changed")
                sync_folder(target.parent)
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno in FULL_ERRNOS:
            raise disk_error(f"The restored library in {folder.parent}", error) from error
        raise _damaged(path, error) from error


def models_in(folder: Path) -> dict[str, Path]:
    """Return the files of the user's own models, by their names in a backup."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {f"models/{path.name}": path for path in paths if path.is_file() and _ALLOWED_NAME.fullmatch(f"models/{path.name}")}


def discard(folder: Path) -> None:
    """Delete a folder with its contents, if it exists."""
    shutil.rmtree(folder, ignore_errors=True)


def _manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    names = archive.namelist()
    if _MANIFEST not in names:
        raise UsageError(f"{path} is not a backup of moodex: it has no {_MANIFEST}.")
    # Compressed files are refused, so that restored files take no more space than the backup.
    if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
        raise ValueError("it contains compressed files, which no backup does")
    if archive.getinfo(_MANIFEST).file_size > _MAX_MANIFEST_BYTES:
        raise ValueError(f"its {_MANIFEST} is too long")
    facts: dict[str, Any] = json.loads(archive.read(_MANIFEST))
    if facts["format"] != _FORMAT:
        raise UsageError(f"{path} is not a backup of moodex.")
    if facts["version"] > _VERSION:
        raise UsageError(f"The backup {path} was made by a newer version of moodex; update moodex to restore it.")
    members = {name: Member(int(member["bytes"]), str(member["blake3"])) for name, member in facts["members"].items()}
    if sorted(names) != sorted([_MANIFEST, *members]):
        raise ValueError("its files are not those that its manifest names")
    if odd := [name for name in members if name != DATABASE and not _ALLOWED_NAME.fullmatch(name)]:
        raise ValueError(f"it contains {odd[0]!r}, which no backup does")
    if sum(member.bytes for member in members.values()) > path.stat().st_size:
        raise ValueError("its manifest names more bytes than it has")
    if DATABASE not in members:
        raise ValueError("it contains no database")
    return Manifest(str(facts["created"]), {str(name): int(number) for name, number in facts["rows"].items()}, members)


def _copy(source: IO[bytes], destination: IO[bytes], advance: Advance, expected_bytes: int | None = None) -> Member:
    """Copy a file; return its size and digest. Stops after more bytes than expected."""
    hasher, size = blake3(), 0
    while chunk := source.read(_COPY_CHUNK_BYTES):
        destination.write(chunk)
        hasher.update(chunk)
        size += len(chunk)
        if expected_bytes is not None and size > expected_bytes:
            break
        advance(len(chunk))
    return Member(size, hasher.hexdigest())


def _damaged(path: Path, error: Exception) -> StoreDamaged:
    return StoreDamaged(f"The backup {path} is damaged ({error}); nothing was restored.")
