"""The image source for buckets of object storage: s3://BUCKET/KEY and gs://BUCKET/KEY."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from functools import cache
from hashlib import blake2b
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from indexer.domain.errors import Damaged, Unreadable
from indexer.domain.files import Failure, FileStamp
from indexer.ports.sources import EXTENSIONS, EXTRA_EXTENSIONS, ScannedFolder, ScanOptions, SourceFile, Watcher, extension_of
from indexer.sources.entries import InnerFolder, Member
from indexer.sources.walk import Walk
from indexer.system.optional import require
from indexer.system.paths import object_url
from indexer.system.safe_read import MAX_FILE_BYTES

if TYPE_CHECKING:
    from obstore.store import ObjectStore

OBJECTS = "object"
"""The name of this source."""

_RETRIES, _RETRY_SECONDS, _REQUEST_SECONDS = 5, 60.0, 60.0
"""A request that fails for the moment is retried, with growing pauses, for up to a minute."""

_DENIED = "the bucket denies access; check the credentials"
_STATUS = re.compile(r"status code: (\d{3}[^:\n]*)")


class _Place(NamedTuple):
    """A place in a bucket. `key` is "" for the bucket itself."""

    store: ObjectStore
    key: str


class ObjectSource:
    """Implements `indexer.ports.sources.ImageSource`. A key is a path, and a prefix that ends before a slash a folder.

    Credentials, the region and another endpoint come from the environment variables of AWS and of Google. A bucket that denies
    access, or does not answer, is a problem of the scan; nothing in it counts as missing.
    """

    def name_of(self, path: bytes) -> str:
        return OBJECTS

    def exists(self, path: bytes) -> bool:
        return self.is_folder(path) or self.has_file(path)

    def is_folder(self, path: bytes) -> bool:
        place = _place(path)
        if not place.key:
            return True
        try:
            listed = _listing(place)
        except Unreadable:  # nothing is known: the name tells what it probably is
            return not _has_image_name(path)
        return bool(listed["objects"] or listed["common_prefixes"])

    def has_file(self, path: bytes) -> bool:
        place = _place(path)
        try:
            return bool(place.key) and _head(place) is not None
        except FileNotFoundError:
            return False
        except Unreadable:
            return True  # the bucket denies access or does not answer: nothing is known to be missing

    def real_path(self, path: bytes) -> bytes:
        return object_url(path) or path

    def scan(self, root: bytes, options: ScanOptions) -> Iterator[ScannedFolder]:
        root = self.real_path(root)
        place = _place(root)
        try:
            if place.key:
                yield _single_object(root, _stamp(_head(place)))
                return
        except Unreadable as error:
            if _has_image_name(root):
                yield ScannedFolder(os.path.dirname(root), whole=False, problem=Failure(error.kind, str(error)))
                return
        except FileNotFoundError:
            pass  # it is a prefix
        yield from Walk(root, options, _folder).folders()

    def read(self, path: bytes) -> tuple[bytes, FileStamp]:
        data, meta = _get(_place(path))
        return data, _stamp(meta)

    def open(self, path: bytes) -> SourceFile:
        data, meta = _get(_place(path))
        return SourceFile(BytesIO(data), _stamp(meta), int(meta["last_modified"].timestamp() * 1e9))

    def stamp(self, path: bytes) -> FileStamp:
        return _stamp(_head(_place(path)))

    def local_path(self, path: bytes) -> bytes | None:
        return None

    def watch(
        self, roots: Sequence[bytes], own_folder: bytes, poll: float | None, wake: Callable[[], None], warn: Callable[[str], None]
    ) -> AbstractContextManager[Watcher]:
        from indexer.sources.folder_watcher import FolderWatcher

        return FolderWatcher(roots, own_folder, poll, wake, warn, time.monotonic)


def _has_image_name(path: bytes) -> bool:
    return extension_of(path) in EXTENSIONS or extension_of(path) in EXTRA_EXTENSIONS


def _folder(path: bytes) -> InnerFolder:
    """Return what is directly below a prefix. Raises Unreadable."""
    place = _place(path)
    try:
        listed = _listing(place)
    except FileNotFoundError as error:
        raise Unreadable("the bucket does not exist") from error
    start = len(place.key) + 1 if place.key else 0
    members = {}
    for meta in listed["objects"]:
        name = os.fsencode(meta["path"][start:])
        if name and b"/" not in name:
            stamp = _stamp(meta)
            members[name] = Member(stamp.size, stamp.version, None)
    subfolders = {os.fsencode(prefix[start:].rstrip("/")) for prefix in listed["common_prefixes"]} - {b""}
    return InnerFolder(path, members, subfolders)


def _single_object(root: bytes, stamp: FileStamp) -> ScannedFolder:
    folder, name = os.path.split(root)
    return ScannedFolder(folder, ((name, stamp.size, stamp.version),), whole=False)


def _listing(place: _Place) -> Any:
    with _explained():
        return place.store.list_with_delimiter(place.key or None)


def _get(place: _Place) -> tuple[bytes, Any]:
    """Return the bytes of an object and what the bucket says of it."""
    with _explained():
        found = place.store.get(place.key)
        if found.meta["size"] > MAX_FILE_BYTES:
            size = found.meta["size"] / 1e6
            raise Damaged(f"its size of {size:.0f} MB exceeds the limit of {MAX_FILE_BYTES / 1e6:.0f} MB")
        return bytes(found.bytes()), found.meta


def _head(place: _Place) -> Any:
    with _explained():
        return place.store.head(place.key)


def _place(path: bytes) -> _Place:
    scheme, _, rest = os.fsdecode(object_url(path) or path).partition("://")
    bucket, _, key = rest.partition("/")
    return _Place(_store(f"{scheme}://{bucket}"), key)


@cache
def _store(url: str) -> ObjectStore:
    require("obstore", "obstore", "objects", "Object storage")
    from obstore.store import from_url

    with _explained():
        return from_url(
            url,
            client_options={"timeout": timedelta(seconds=_REQUEST_SECONDS), "allow_http": True},
            retry_config={"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)},
        )


def _stamp(meta: Any) -> FileStamp:
    """Return the stamp of an object: its size, and 64 bits of a digest of its ETag and its version."""
    mark = (meta.get("e_tag") or "").strip('"') or meta["last_modified"].isoformat()
    digest = blake2b(f"{mark}/{meta.get('version') or ''}".encode(), digest_size=8).digest()
    return FileStamp(meta["size"], int.from_bytes(digest, "little", signed=True))


@contextmanager
def _explained() -> Iterator[None]:
    """Turn the errors of obstore into Unreadable; FileNotFoundError for a missing object stays."""
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

    try:
        yield
    except FileNotFoundError:
        raise
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise Unreadable(_DENIED) from error
    except (BaseError, OSError, ValueError) as error:
        raise Unreadable(_reason(str(error))) from error


def _reason(text: str) -> str:
    """Return the reason in the text of an error, which also has the details of each request."""
    status = _STATUS.search(text)
    if status is None:
        return f"the bucket cannot be read: {' '.join(text.split())[:200]}"
    return _DENIED if status[1].startswith(("401", "403")) else f"the server of the bucket answers {status[1].strip()}"
