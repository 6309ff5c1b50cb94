"""The contents of archives that were opened before, so that an archive that did not change costs the reading of its stamp."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.domain.errors import Damaged
from indexer.sources.archives.contents import Contents

if TYPE_CHECKING:
    from indexer.domain.files import FileStamp

_FORMAT = 2
"""Number of the form of the kept files, and of the rules by which they were made: others are not used."""

_MAX_IN_MEMORY, _MAX_MEMBERS_IN_MEMORY = 64, 2_000_000
"""Limits of the archives in memory, and of their members together, each of which takes up to 1 KB; the last archive stays."""


class KeptContents:
    """Contents, or the damage, of archives by path and stamp: those of the last ones in memory, all in a folder. Thread-safe.

    Everything in the folder can be computed again, and a full or read-only disk costs only time. Without a folder, nothing is
    kept on disk.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._last: OrderedDict[tuple[bytes, FileStamp], Contents | Damaged] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, archive: bytes, stamp: FileStamp) -> Contents | Damaged | None:
        """Return what was kept of an archive; None if that is nothing."""
        with self._lock:
            found = self._last.get((archive, stamp))
        if found is None and (found := self._read(archive, stamp)) is not None:
            self._remember(archive, stamp, found)
        return found

    def keep(self, archive: bytes, stamp: FileStamp, found: Contents | Damaged) -> None:
        """Keep the contents of an archive, or why it has none."""
        self._remember(archive, stamp, found)
        path = self._path(archive)
        if path is None:
            return
        values: dict[str, Any] = {"problem": str(found)} if isinstance(found, Damaged) else found.to_json()
        text = json.dumps({"format": _FORMAT, "archive": archive.decode("latin-1"), "stamp": _numbers(stamp), **values})
        temporary = path.with_name(f".{path.name}.{threading.get_ident()}.tmp")
        with suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            try:
                temporary.write_text(text, "ascii")
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)

    def forget(self, archive: bytes) -> None:
        """Delete what is kept of an archive that does not exist any more."""
        path = self._path(archive)
        if path is not None:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _read(self, archive: bytes, stamp: FileStamp) -> Contents | Damaged | None:
        path = self._path(archive)
        if path is None:
            return None
        try:
            values = json.loads(path.read_bytes())
            expected = {"format": _FORMAT, "archive": archive.decode("latin-1"), "stamp": _numbers(stamp)}
            if any(values[name] != value for name, value in expected.items()):
                return None
            return Damaged(values["problem"]) if "problem" in values else Contents.from_json(values)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None  # it is not kept, or the file is damaged

    def _remember(self, archive: bytes, stamp: FileStamp, found: Contents | Damaged) -> None:
        with self._lock:
            self._last[archive, stamp] = found
            members = sum(map(_member_count, self._last.values()))
            while len(self._last) > 1 and (len(self._last) > _MAX_IN_MEMORY or members > _MAX_MEMBERS_IN_MEMORY):
                _, dropped = self._last.popitem(last=False)
                members -= _member_count(dropped)

    def _path(self, archive: bytes) -> Path | None:
        return None if self._folder is None else self._folder / f"{blake2b(archive, digest_size=16).hexdigest()}.json"


def _member_count(found: Contents | Damaged) -> int:
    return len(found.files) if isinstance(found, Contents) else 0


def _numbers(stamp: FileStamp) -> list[int | None]:
    return [stamp.size, stamp.version, stamp.change]
