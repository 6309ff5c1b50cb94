"""Buckets of object storage: s3://BUCKET/KEY, gs://BUCKET/KEY and az://CONTAINER/BLOB."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from indexer.domain.errors import Unreadable
from indexer.sources.entries import InnerFolder
from indexer.sources.remote.server import PART_BYTES, REQUEST_SECONDS, RETRIES, RETRY_SECONDS, Denied, RemoteFile
from indexer.system.optional import require

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_DENIED = "the bucket denies access; check the credentials"
_NO_BUCKET = "the server has no bucket of this name; check the name, the region and the endpoint"
_CHANGED = "it changed while it was read"
_STATUS = re.compile(r"status code: (\d{3}[^:\n]*)")


class Bucket:
    """Implements `FileServer`. A key is a path, and a prefix that ends before a slash a folder.

    Credentials, the region and another endpoint come from the environment variables of AWS, of Google and of Azure.
    """

    def __init__(self, address: bytes) -> None:
        """`address` is that of the bucket. Raises MissingExtra, and Unreadable if the environment is invalid."""
        require("obstore", "obstore", "objects", "Object storage")
        from obstore.store import from_url

        self._start = len(address) + 1
        with _explained():
            self._store: ObjectStore = from_url(
                os.fsdecode(address),
                client_options={"timeout": timedelta(seconds=REQUEST_SECONDS), "allow_http": True},
                retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
            )

    def is_folder(self, path: bytes) -> bool:
        if not self._key(path):
            return True
        listed = self._listed(path)
        return bool(listed["objects"] or listed["common_prefixes"])

    def listing(self, folder: bytes) -> InnerFolder:
        try:
            listed = self._listed(folder)
        except FileNotFoundError as error:
            raise Unreadable(_NO_BUCKET) from error
        key = self._key(folder)
        start = len(key) + 1 if key else 0
        members = {}
        for meta in listed["objects"]:
            name = os.fsencode(meta["path"][start:])
            if name and b"/" not in name:
                members[name] = _file(meta).member
        subfolders = {os.fsencode(prefix[start:].rstrip("/")) for prefix in listed["common_prefixes"]} - {b""}
        return InnerFolder(folder, members, subfolders)

    def status(self, path: bytes) -> RemoteFile:
        key = self._key(path)
        if not key:
            raise FileNotFoundError(path)
        with _explained():
            return _file(self._store.head(key))

    def stream(self, path: bytes) -> tuple[RemoteFile, Iterator[bytes]]:
        with _explained():
            found = self._store.get(self._key(path))
        file = _file(found.meta)
        if file.size > PART_BYTES:
            return file, self._parts(path, file)
        return file, _bytes_of(found)

    def part(self, path: bytes, file: RemoteFile, start: int, end: int) -> bytes | None:
        with _explained():
            options: Any = {"range": (start, end), **({"if_match": file.tag} if file.tag else {})}
            return bytes(self._store.get(self._key(path), options=options).bytes())

    def _parts(self, path: bytes, file: RemoteFile) -> Iterator[bytes]:
        for start in range(0, file.size, PART_BYTES):
            yield self.part(path, file, start, min(start + PART_BYTES, file.size)) or b""

    def _listed(self, folder: bytes) -> Any:
        with _explained():
            return self._store.list_with_delimiter(self._key(folder) or None)

    def _key(self, path: bytes) -> str:
        return os.fsdecode(path[self._start :])


@cache
def open_bucket(address: bytes) -> Bucket:
    """Return the bucket of an address, which all libraries of this process share. Raises as `Bucket` does."""
    return Bucket(address)


def _bytes_of(found: Any) -> Iterator[bytes]:
    with _explained():
        yield bytes(found.bytes())


def _file(meta: Any) -> RemoteFile:
    return RemoteFile(meta["size"], meta.get("e_tag") or "", int(meta["last_modified"].timestamp() * 1e9))


@contextmanager
def _explained() -> Iterator[None]:
    """Turn the errors of obstore into Unreadable; FileNotFoundError for a missing object stays."""
    from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError

    try:
        yield
    except FileNotFoundError:
        raise
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise Denied(_DENIED) from error
    except PreconditionError as error:
        raise Unreadable(_CHANGED) from error
    except (BaseError, OSError, ValueError) as error:
        raise _unreadable(str(error)) from error


def _unreadable(text: str) -> Unreadable:
    """Return the error with the reason in the text of an error, which also has the details of each request."""
    status = _STATUS.search(text)
    if status is None:
        return Unreadable(f"the bucket cannot be read: {' '.join(text.split())[:200]}")
    if status[1].startswith(("401", "403")):
        return Denied(_DENIED)
    if status[1].startswith("404"):
        return Unreadable(_NO_BUCKET)
    return Unreadable(f"the server of the bucket answers {status[1].strip()}")
